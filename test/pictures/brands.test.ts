import { describe, expect, test } from 'bun:test'
import { typeOfBrands } from '../../src/pictures/brands.ts'
import { box, u32 } from '../support/pictures/picture-pieces.ts'

const file = (major: string, ...compatible: string[]) => box('ftyp', major, u32(0), ...compatible)

describe('the type of a file of boxes', () => {
  test.each([
    ['image/avif', file('avif', 'mif1', 'miaf')],
    ['image/avif', file('avis', 'msf1')],
    ['image/avif', file('mif1', 'mif1', 'miaf', 'avif')],
    ['image/avif', file('miaf', 'mif1', 'avif', 'MA1B')],
    ['image/heic', file('heic', 'mif1', 'heic')],
    ['image/heic', file('mif1', 'mif1', 'heic', 'hevc')],
    ['image/heic', file('msf1', 'hevc', 'mif1')],
    ['image/heic', file('tmap', 'mif1', 'MiHB', 'heix')],
    [undefined, file('mif1', 'mif1', 'miaf')],
    [undefined, file('isom', 'iso2', 'avif')],
    [undefined, file('qt  ', 'heic')],
    [undefined, file('mif1', ...Array.from({ length: 65 }, () => 'free'), 'avif')],
    [undefined, file('mif1')],
    [undefined, file('mif1', 'avif').subarray(0, 18)],
    [undefined, new Uint8Array()],
  ] as const)('is %s by its own brand, else by the compatible ones (%#)', (type, bytes) => {
    expect(typeOfBrands(bytes)).toBe(type)
  })
})
