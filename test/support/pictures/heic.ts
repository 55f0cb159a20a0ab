/** HEICs put together by hand around pictures that heif-enc (libheif 1.15 with x265) has encoded. */
import { readFileSync } from 'node:fs'
import { join as pathOf } from 'node:path'
import { boxesIn, findBox } from '../../../src/pictures/boxes.ts'
import { repository } from '../repository.ts'
import { type Bytes, box, fullBox, join, type Piece, u16, u32 } from './picture-pieces.ts'

/** One coded picture: its decoder's settings (`hvcC`) and its data. */
export type Coded = { settings: Bytes; data: Bytes; side: number }

/** Red and green above blue and white, in quarters: it looks different after every turn and mirroring. */
export const FOUR_COLOURS_FILE: Bytes = new Uint8Array(
  readFileSync(pathOf(repository, 'test/corpus/accept/four-colours.heic')),
)
export const FOUR_COLOURS = codedOf(FOUR_COLOURS_FILE, 256)
/** Of each quarter of it, as it is written. */
export const QUARTERS = { red: [192, 32, 32], green: [32, 160, 48], blue: [32, 64, 192], white: [255, 255, 255] }

export const turn = (quartersAnticlockwise: number) => box('irot', [quartersAnticlockwise])
/** 0: top and bottom change places; 1: the sides do (ISO/IEC 23008-12:2022, 6.5.12). */
export const mirror = (axis: 0 | 1) => box('imir', [axis])
/** Offsets are from centre to centre, in halves of a pixel. */
export const crop = (width: number, height: number, x = 0, y = 0) =>
  box('clap', ...[width, 1, height, 1, x, 2, y, 2].map((n) => u32(n >>> 0)))

type Layout = {
  coded?: Coded
  /** How often the coded picture is shown, if it is a tile of a grid. */
  columns?: number
  rows?: number
  /** Absent: all of it. */
  width?: number
  height?: number
  /** The size that the boxes declare, if it is another. */
  declared?: [width: number, height: number]
  /** Properties of the picture that is shown, in order. */
  properties?: Bytes[]
  brands?: [major: string, ...compatible: string[]]
  exif?: Piece
  /** Boxes behind the picture. */
  more?: Piece[]
}

/** All tiles are the same bytes, so that a picture of many pixels has few bytes. */
export function heic({ coded = FOUR_COLOURS, columns = 1, rows = 1, ...given }: Layout = {}): Bytes {
  const { width = columns * coded.side, height = rows * coded.side, properties = [] } = given
  const [major = 'heic', ...compatible] = given.brands ?? ['heic', 'mif1', 'heic']
  const isGrid = columns * rows > 1
  const grid = join([0, 1, rows - 1, columns - 1], u32(width), u32(height))
  const tiles = isGrid ? Array.from({ length: columns * rows }, (_, i) => i + 3) : []
  const exif = given.exif === undefined ? [] : [join(u32(6), 'Exif\0\0', given.exif)]
  const fileOf = (dataAt: number): Bytes => {
    const items: { id: number; type: string; at: number; length: number; hidden?: boolean }[] = [
      isGrid
        ? { id: 1, type: 'grid', at: dataAt + coded.data.length, length: grid.length }
        : { id: 1, type: 'hvc1', at: dataAt, length: coded.data.length },
      ...exif.map(({ length }) => ({ id: 2, type: 'Exif', at: dataAt + coded.data.length + grid.length, length })),
      ...tiles.map((id) => ({ id, type: 'hvc1', at: dataAt, length: coded.data.length, hidden: true })),
    ]
    const references = [
      ...(isGrid ? [box('dimg', u16(1), u16(tiles.length), ...tiles.map(u16))] : []),
      ...exif.map(() => box('cdsc', u16(2), u16(1), u16(1))),
    ]
    const ofPicture = [isGrid ? [] : [0x81], [2], properties.map((_, i) => 0x84 + i)].flat()
    return join(
      box('ftyp', major, u32(0), ...compatible),
      fullBox(
        ...(['meta', 0, 0, HANDLER, fullBox('pitm', 0, 0, u16(1))] as const),
        fullBox(
          ...(['iloc', 0, 0, [0x44, 0], u16(items.length)] as const),
          ...items.map(({ id, at, length }) => join(u16(id), u16(0), u16(1), u32(at), u32(length))),
        ),
        fullBox(
          ...(['iinf', 0, 0, u16(items.length)] as const),
          ...items.map(({ id, type, hidden }) => fullBox('infe', 2, hidden ? 1 : 0, u16(id), u16(0), type, [0])),
        ),
        ...(references.length > 0 ? [fullBox('iref', 0, 0, ...references)] : []),
        box(
          'iprp',
          box(
            'ipco',
            coded.settings,
            sizeOf(...(given.declared ?? [width, height])),
            sizeOf(coded.side, coded.side),
            ...properties,
          ),
          fullBox(
            ...(['ipma', 0, 0, u32(1 + tiles.length), u16(1), [ofPicture.length, ...ofPicture]] as const),
            ...tiles.map((id) => join(u16(id), [2, 0x81, 3])),
          ),
        ),
      ),
      box('mdat', coded.data, grid, ...exif),
      ...(given.more ?? []),
    )
  }
  const rest = coded.data.length + grid.length + join(...exif, ...(given.more ?? [])).length
  // Offsets have the same number of bytes whatever they are.
  return fileOf(fileOf(0).length - rest)
}

/** The picture of a file of heif-enc that has only one. */
export function codedOf(file: Bytes, side: number): Coded {
  const view = new DataView(file.buffer)
  const inside = (place: { data: number; end: number } | undefined, before = 0) =>
    place === undefined ? [] : boxesIn(view, { start: place.data + before, end: place.end }, () => {})
  const top = [...inside({ data: 0, end: file.length })]
  const properties = findBox(inside(findBox(inside(findBox(top, 'meta'), 4), 'iprp')), 'ipco')
  const settings = findBox(inside(properties), 'hvcC')
  const data = findBox(top, 'mdat')
  if (settings === undefined || data === undefined) throw new Error('no picture of heif-enc')
  return { settings: box('hvcC', file.slice(settings.data, settings.end)), data: file.slice(data.data, data.end), side }
}

const HANDLER = fullBox('hdlr', 0, 0, u32(0), 'pict', new Uint8Array(13))
const sizeOf = (width: number, height: number) => fullBox('ispe', 0, 0, u32(width), u32(height))
