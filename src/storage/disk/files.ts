/** Calls on single files, and the handling of their errors. */
import { type FileHandle, open } from 'node:fs/promises'
import { unavailable } from '../unavailable.ts'

/** Runs a call on the file system. Such calls are short, so an aborted signal only prevents the start. */
export async function reach<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    signal?.throwIfAborted()
    return await call()
  } catch (error) {
    throw unavailable(error)
  }
}

/** For `catch`: null if the file does not exist; rethrows any other error. */
export function ifMissing(error: unknown): null {
  if (isCode(error, 'ENOENT')) return null
  throw error
}

export function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

/** Syncs a file or folder: a rename or hard link survives a crash only if its folder is synced, too. */
export async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

export async function readFrom(file: FileHandle, start: number, length: number): Promise<Uint8Array> {
  const { bytesRead, buffer } = await file.read(new Uint8Array(length), 0, length, start)
  return buffer.subarray(0, bytesRead)
}
