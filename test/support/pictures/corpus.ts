import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import manifest from '../../corpus/manifest.json'
import { repository } from '../repository.ts'
import { makePicture } from './made-pictures.ts'

/** Files that are accepted, with what they are; `video/mp4` only where the operator allows it. */
export const accepted = manifest.accept
/** Files that are refused, with the answer to them when they are declared as `declared`. */
export const refused = manifest.refuse
/** File names as clients send them, with what is stored. */
export const names = manifest.names

export const DEFAULT_TYPES = new Set(['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/avif', 'image/heic'])

export async function readCorpus(file: string): Promise<Uint8Array<ArrayBuffer>> {
  if (file.startsWith('made/')) return makePicture(file, await readCorpus('accept/rocket.jpg'))
  return Bun.file(join(repository, 'test/corpus', file)).bytes()
}

/** A file that a service once read wrongly, from `test/pictures/cases`; those that end in `.gz` are unpacked. */
export async function readCase(file: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await Bun.file(join(repository, 'test/pictures/cases', file)).bytes()
  return file.endsWith('.gz') ? new Uint8Array(gunzipSync(bytes)) : bytes
}
