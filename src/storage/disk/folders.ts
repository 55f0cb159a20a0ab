/** The folders of the disk store, and the path of a key in each. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Each lies in the store's root under its own name. */
export type Folders = { objects: string; types: string; incoming: string; uploads: string }

/** Creates the folders that are missing, and removes the files that a crash left half-written. */
export async function openFolders(root: string): Promise<Folders> {
  const folder = (name: string) => join(root, name)
  const folders = {
    objects: folder('objects'),
    types: folder('types'),
    incoming: folder('incoming'),
    uploads: folder('uploads'),
  }
  await rm(folders.incoming, { recursive: true, force: true })
  for (const path of Object.values(folders)) await mkdir(path, { recursive: true })
  return folders
}

export function objectPath({ objects }: Folders, key: string): string {
  return join(objects, checked(key))
}

export function typePath({ types }: Folders, key: string): string {
  return join(types, checked(key))
}

export function uploadPath({ uploads }: Folders, key: string): string {
  return join(uploads, checked(key))
}

/** Keys come from the service or from a link that it signed; no other text may become a path. */
function checked(key: string): string {
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\/?$/.test(key))
    throw new Error(`not a storage key: ${key}`)
  return key
}
