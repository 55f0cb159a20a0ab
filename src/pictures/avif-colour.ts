/** Gives an AVIF the colour profile that its code points mean (ISO/IEC 23008-12; nclx of ISO/IEC 14496-12, 12.1.5). */

import { type Box, listOf, type Placed } from './boxes.ts'
import { fourCC, viewOf } from './bytes.ts'
import { associationsOf, FULL_BOX_BYTES, primaryItemOf } from './item-properties.ts'
import { profileOf } from './profile.ts'

const [META, IPRP, IPCO, IPMA, PITM, COLR] = ['meta', 'iprp', 'ipco', 'ipma', 'pitm', 'colr'].map(fourCC)
const NCLX = fourCC('nclx')
const FREE = fourCC('free')
// A number of more bits would be needed beyond it.
const MOST_PROPERTIES = 127
const MOST_ASSOCIATIONS = 255

/**
 * The file itself where it has a profile or means sRGB; else a copy with a second, complete description of its pictures
 * at the end, so that no offset changes, and the first one marked as free space.
 */
export function avifWithProfile(bytes: Uint8Array): Uint8Array {
  try {
    return withProfile(bytes) ?? bytes
  } catch (error) {
    // A box that is cut off.
    if (error instanceof RangeError) return bytes
    throw error
  }
}

function withProfile(bytes: Uint8Array): Uint8Array | undefined {
  const view = viewOf(bytes)
  const list = listOf(bytes)
  const meta = list({ data: 0, end: bytes.length }).find(({ type }) => type === META)
  const children = meta === undefined ? [] : list(meta, FULL_BOX_BYTES)
  const [pitm, iprp] = [PITM, IPRP].map((wanted) => children.find(({ type }) => type === wanted))
  if (meta === undefined || pitm === undefined || iprp === undefined) return undefined
  const id = primaryItemOf(view, pitm)
  const inner = list(iprp)
  const ipco = inner.find(({ type }) => type === IPCO)
  const [ipma] = inner.flatMap((box) => {
    const found = box.type === IPMA ? associationsOf(view, box, id) : undefined
    return found === undefined ? [] : { box, ...found }
  })
  if (ipco === undefined || ipma === undefined) return undefined
  const properties = list(ipco)
  const profile = meantProfile(
    view,
    ipma.indices.flatMap((index) => properties[index - 1] ?? []),
  )
  if (profile === undefined || properties.length >= MOST_PROPERTIES) return undefined
  if (ipma.indices.length >= MOST_ASSOCIATIONS) return undefined

  const part = (start: number, end: number) => bytes.subarray(start, end)
  const whole = ({ start, end }: Placed) => part(start, end)
  const added = Uint8Array.of(...(ipma.isWide ? [0] : []), properties.length + 1)
  const associations = [part(ipma.box.data, ipma.at), [ipma.indices.length + 1], part(ipma.at + 1, ipma.end), added]
  const rest = part(ipma.end, ipma.box.end)
  const changed = inner.map((one) => {
    if (one === ipco) return boxOf('ipco', part(ipco.data, ipco.end), boxOf('colr', Buffer.from('prof'), profile))
    if (one === ipma.box) return boxOf('ipma', ...associations.map((piece) => Uint8Array.from(piece)), rest)
    return whole(one)
  })
  const pieces = children.map((one) => (one === iprp ? boxOf('iprp', ...changed) : whole(one)))
  const copy = bytes.slice()
  viewOf(copy).setUint32(meta.start, meta.end - meta.start)
  viewOf(copy).setUint32(meta.start + 4, FREE)
  return Buffer.concat([copy, boxOf('meta', part(meta.data, meta.data + FULL_BOX_BYTES), ...pieces)])
}

/** Undefined if the picture has a profile, which counts more. */
function meantProfile(view: DataView, properties: Box[]): Uint8Array | undefined {
  const colours = properties.filter(({ type }) => type === COLR)
  const isNclx = ({ data }: Box) => view.getUint32(data) === NCLX
  const [nclx] = colours
  if (nclx === undefined || !colours.every(isNclx)) return undefined
  const [primaries, transfer] = [view.getUint16(nclx.data + 4), view.getUint16(nclx.data + 6)]
  return profileOf({ primaries, transfer, video: 'sRGB' })
}

function boxOf(type: string, ...parts: Uint8Array[]): Uint8Array {
  const header = Buffer.alloc(8)
  header.writeUInt32BE(parts.reduce((sum, { length }) => sum + length, header.length))
  header.write(type, 4, 'latin1')
  return Buffer.concat([header, ...parts])
}
