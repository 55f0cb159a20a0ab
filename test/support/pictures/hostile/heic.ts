/** HEICs that are broken, or claim more than they have. */
import fc from 'fast-check'
import { FOUR_COLOURS, heic, turn } from '../heic.ts'
import { film } from '../made-pictures.ts'
import { type Bytes, box, join, repeat } from '../picture-pieces.ts'
import { type Hostile, MiB } from './kind.ts'

const FREE = box('free')

export function heics(): Hostile[] {
  return [
    tiles(16, 16),
    claim('tiles of 60000 × 60000', () =>
      heic({ coded: { ...FOUR_COLOURS, side: 60_000 }, columns: 2, rows: 2, width: 512, height: 512 }),
    ),
    claim('256 pixels that its grid takes for 60000', () =>
      heic({ columns: 2, rows: 2, width: 60_000, height: 60_000, declared: [256, 256] }),
    ),
    claim('17 million frames', () => heic({ brands: ['msf1', 'mif1', 'heic'], more: [film(17_000_000)] })),
    claim('noise for pixels', () => broken(FOUR_COLOURS.data.map((byte, i) => (i < 40 ? byte : (i * 7919) % 251)))),
    claim('100 crops and turns', () => heic({ properties: Array.from({ length: 100 }, () => turn(1)) })),
    emptyBoxes(7_800_000, 0),
    emptyBoxes(7_600_000, MiB),
  ]
}

export function anyHeic(): fc.Arbitrary<Hostile> {
  const side = fc.integer({ min: 2, max: 16 })
  const change = fc.tuple(fc.nat(), fc.nat(255))
  return fc.oneof(
    fc.tuple(side, side).map(([rows, columns]) => tiles(rows, columns)),
    fc.array(change, { minLength: 1, maxLength: 20 }).map((changes) => {
      const make = () => {
        const data = FOUR_COLOURS.data.slice()
        for (const [at, byte] of changes) data[at % data.length] = byte
        return broken(data)
      }
      return claim(`pixels changed at ${changes.map(([at]) => at % FOUR_COLOURS.data.length).join(' ')}`, make)
    }),
  )
}

const broken = (data: Bytes) => heic({ coded: { ...FOUR_COLOURS, data } })

/** Refused, if at all, by the decoder. */
function claim(what: string, make: () => Bytes): Hostile {
  return { name: `HEIC of ${what}`, mimeType: 'image/heic', make, door: undefined, structure: undefined }
}

/** One tile, shown again and again, on its side. */
function tiles(rows: number, columns: number): Hostile {
  return claim(`${rows} × ${columns} tiles`, () => heic({ rows, columns, properties: [turn(1)] }))
}

function emptyBoxes(count: number, behind: number): Hostile {
  const make = () => join(heic(), behind > 0 ? box('free', new Uint8Array(behind)) : [], repeat(count, FREE))
  return {
    ...claim(`${count} empty boxes${behind > 0 ? ` behind ${behind} bytes` : ''}`, make),
    ...{ door: behind > 0 ? undefined : 'image_unreadable', structure: 'image_unreadable' },
  }
}
