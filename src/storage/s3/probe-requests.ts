/** What the start probe sends as a client of the store: an object of a few bytes by a link, or without a signature. */
import type { SignPut } from '../storage.ts'

/** The bytes of every object of the probe. */
export const PROBE = 'probe'

/** A link for any bytes of this type. */
export const PLAIN: SignPut = { expiresIn: 60, contentType: 'text/plain', size: undefined, sha256: undefined }

/** Whether the store or CDN says yes; the body of its answer is left where it is. */
export async function isOk(url: string, init: RequestInit): Promise<boolean> {
  const answer = await fetch(url, init)
  await answer.body?.cancel()
  return answer.ok
}

/** The address of the object that a link is for. */
export function unsigned(url: string): string {
  return url.slice(0, url.indexOf('?'))
}
