/** AVIFs of many pixels, or of many boxes. */
import { readFileSync } from 'node:fs'
import { join as pathOf } from 'node:path'
import fc from 'fast-check'
import { type Bytes, box, fullBox, join, repeat, u16, u32 } from '../picture-pieces.ts'
import { type Hostile, MiB } from './kind.ts'

const FREE = box('free')

export function avifs(): Hostile[] {
  return [
    {
      ...{ name: 'AVIF of 8000 × 8000, flat', mimeType: 'image/avif' },
      make: () => fixture('flat-8000x8000.avif'),
      ...{ door: undefined, structure: undefined },
    },
    grid(8, 8),
    emptyBoxes(7_800_000, 0),
    emptyBoxes(7_600_000, MiB),
    boxesInMeta(7_800_000),
    nestedBoxes(500_000),
  ]
}

export function anyAvif(): fc.Arbitrary<Hostile> {
  const tiles = fc.integer({ min: 2, max: 8 })
  const many = fc.integer({ min: 50_000, max: 2_000_000 })
  return fc.oneof(
    fc.tuple(tiles, tiles).map(([rows, columns]) => grid(rows, columns)),
    fc.tuple(many, fc.constantFrom(0, MiB)).map((some) => emptyBoxes(...some)),
    many.map(boxesInMeta),
    many.map(nestedBoxes),
  )
}

function emptyBoxes(count: number, behind: number): Hostile {
  const make = () =>
    join(fixture('flat-1000x1000.avif'), behind > 0 ? box('free', new Uint8Array(behind)) : [], repeat(count, FREE))
  return {
    ...{
      name: `AVIF of ${count} empty boxes${behind > 0 ? ` behind ${behind} bytes` : ''}`,
      mimeType: 'image/avif',
      make,
    },
    ...{ door: behind > 0 ? undefined : 'image_unreadable', structure: 'image_unreadable' },
  }
}

function boxesInMeta(count: number): Hostile {
  const make = () => join(ftyp, fullBox('meta', 0, 0, hdlr, repeat(count, FREE)))
  return {
    ...{ name: `AVIF of ${count} empty boxes in its meta`, mimeType: 'image/avif', make },
    ...{ door: 'image_unreadable', structure: 'image_unreadable' },
  }
}

/** Each in the one before it. */
function nestedBoxes(depth: number): Hostile {
  const make = () => {
    const bytes = repeat(depth, u32(0), 'iprp')
    const view = new DataView(bytes.buffer)
    for (let i = 0; i < depth; i += 1) view.setUint32(8 * i, 8 * (depth - i))
    return join(ftyp, fullBox('meta', 0, 0, hdlr, bytes))
  }
  return {
    ...{ name: `AVIF of ${depth} boxes in each other`, mimeType: 'image/avif', make },
    ...{ door: 'image_unreadable', structure: 'image_unreadable' },
  }
}

const ftyp = box('ftyp', 'avif', u32(0), 'avif', 'mif1', 'miaf')
const hdlr = fullBox('hdlr', 0, 0, u32(0), 'pict', new Uint8Array(13))
const av1Settings = box('av1C', [0x81, 0x05, 0x0c, 0])

/** One tile of 1000 × 1000 pixels, shown again and again (ISO/IEC 23008-12, 6.6.2.3.2). */
function grid(rows: number, columns: number): Hostile {
  const tile = fixture('flat-1000x1000.avif').slice(0xfa)
  const [width, height] = [columns * 1000, rows * 1000]
  const make = () => {
    const layout = [0, 1, rows - 1, columns - 1, ...u32(width), ...u32(height)]
    const items = rows * columns
    const fileOf = (tileAt: number) => {
      const at = (id: number, start: number, length: number) => join(u16(id), u16(0), u16(1), u32(start), u32(length))
      const places = [
        at(1, tileAt + tile.length, layout.length),
        ...Array.from({ length: items }, (_, i) => at(i + 2, tileAt, tile.length)),
      ]
      const entry = (id: number, type: string) => fullBox('infe', 2, 0, u16(id), u16(0), type, [0])
      const tiles = Array.from({ length: items }, (_, i) => i + 2)
      const size = (w: number, h: number) => fullBox('ispe', 0, 0, u32(w), u32(h))
      return join(
        ftyp,
        fullBox(
          ...(['meta', 0, 0, hdlr, fullBox('pitm', 0, 0, u16(1))] as const),
          fullBox('iloc', 0, 0, [0x44, 0], u16(items + 1), ...places),
          fullBox('iinf', 0, 0, u16(items + 1), entry(1, 'grid'), ...tiles.map((id) => entry(id, 'av01'))),
          fullBox('iref', 0, 0, box('dimg', u16(1), u16(items), ...tiles.map(u16))),
          box(
            'iprp',
            box('ipco', av1Settings, size(1000, 1000), fullBox('pixi', 0, 0, [3, 8, 8, 8]), size(width, height)),
            fullBox(
              ...(['ipma', 0, 0, u32(items + 1), u16(1), [2, 3, 4]] as const),
              ...tiles.flatMap((id) => [u16(id), [3, 0x81, 2, 3]]),
            ),
          ),
        ),
        box('mdat', tile, layout),
      )
    }
    // Offsets have the same number of bytes whatever they are.
    return fileOf(fileOf(0).length - layout.length - tile.length)
  }
  return {
    ...{ name: `AVIF of ${rows} × ${columns} tiles`, mimeType: 'image/avif', make },
    ...{ door: undefined, structure: undefined },
  }
}

function fixture(name: string): Bytes {
  return new Uint8Array(readFileSync(pathOf(import.meta.dirname, name)))
}
