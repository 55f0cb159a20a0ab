/** Converts media objects to response bodies. */
import type { z } from '@hono/zod-openapi'
import type { Addressed, VisibleObject } from '../../media/object/object.ts'
import type { Deps } from '../deps.ts'
import type { MediaObject, SignedMediaObject } from '../openapi/schemas/objects.ts'

/** A media object without a link, as its owner sees it. */
export function present(row: Addressed, origin: string): z.infer<typeof MediaObject> {
  const { width, height, thumbHash = null, dominantColor = null } = row.metadata
  return {
    id: row.id,
    userId: row.userId,
    originalName: row.originalName,
    mimeType: row.mimeType,
    sizeBytes: row.sizeBytes,
    key: row.key,
    url: absolute(row.url, origin),
    metadata: { width, height, thumbHash, dominantColor },
    visibility: row.visibility,
    status: row.status,
    createdAt: row.createdAt.toISOString(),
    ...(row.expiresAt !== null && { expiresAt: row.expiresAt.toISOString() }),
  }
}

/** A media object with fresh signed links to the bytes that its viewer may read, and to renditions of these widths. */
export async function presentSigned(
  row: Addressed<VisibleObject>,
  origin: string,
  widths: readonly number[] | undefined,
  { media, renditionLinks }: Pick<Deps, 'media' | 'renditionLinks'>,
): Promise<z.infer<typeof SignedMediaObject>> {
  const { url, expiresAt } = await media.objects.sign(row)
  return {
    ...present(row.own ? row : { ...row, expiresAt: null }, origin),
    signedUrl: absolute(url, origin),
    signedUrlExpiresAt: expiresAt.toISOString(),
    ...(widths && { renditions: renditionLinks.of(row, widths, origin) }),
  }
}

/** Prefixes a path of this service with its origin. */
export function absolute(link: string, origin: string): string {
  return link.startsWith('/') ? origin + link : link
}
