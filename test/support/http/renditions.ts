import { expect } from 'bun:test'
import sharp from 'sharp'
import type { Stage } from '../process/acceptance.ts'

/** Asks for a rendition, and follows to its bytes. */
export async function askRendition(
  on: Pick<Stage, 'call'>,
  id: string,
  query: string,
  { as, accept = '*/*' }: { as?: string; accept?: string } = {},
): Promise<Response> {
  const options = { headers: { accept }, ...(as !== undefined && { as }) }
  const response = await on.call(`/media/${id}/content?${query}`, options)
  if (response.status !== 302) return response
  await response.body?.cancel()
  const made = await fetch(response.headers.get('location') ?? '')
  made.headers.set('x-vary', response.headers.get('vary') ?? '')
  return made
}

/** What a picture is that was answered; it has no metadata. */
export async function seen(response: Response) {
  expect(response.status).toBe(200)
  const bytes = new Uint8Array(await response.arrayBuffer())
  const { width, pageHeight, height, pages = 1, format, ...rest } = await sharp(bytes, { animated: true }).metadata()
  const { exif, xmp, iptc, icc, comments, space } = rest
  expect({ exif, xmp, iptc, icc, comments }).toEqual({
    exif: undefined,
    xmp: undefined,
    iptc: undefined,
    icc: undefined,
    comments: undefined,
  })
  return {
    type: response.headers.get('content-type'),
    width,
    height: pageHeight ?? height,
    pages,
    format,
    space,
    bytes,
  }
}
