import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where the tests keep what takes minutes to get. A name holds a hash of what it was made from. */
export function inCache(name: string): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'media-service-tests', name)
}
