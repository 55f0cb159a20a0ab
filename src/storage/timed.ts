/** Wraps a store so that the request's record counts the time spent waiting for it. */
import { timed } from '../telemetry/record.ts'
import type { MultipartStorage } from './multipart.ts'
import type { Storage } from './storage.ts'

/** Signing is not timed: it makes no call to the store. */
export function timedStorage(storage: Storage): Storage {
  const { multipart } = storage
  return {
    ...storage,
    ...(multipart !== undefined && { multipart: timedMultipart(multipart) }),
    put: (...args) => timed('store', () => storage.put(...args)),
    head: (...args) => timed('store', () => storage.head(...args)),
    peek: (...args) => timed('store', () => storage.peek(...args)),
    read: (...args) => timed('store', () => storage.read(...args)),
    copy: (...args) => timed('store', () => storage.copy(...args)),
    list: (...args) => timed('store', () => storage.list(...args)),
    remove: (...args) => timed('store', () => storage.remove(...args)),
    removePrefix: (...args) => timed('store', () => storage.removePrefix(...args)),
    abortUploads: (...args) => timed('store', () => storage.abortUploads(...args)),
  }
}

function timedMultipart(multipart: MultipartStorage): MultipartStorage {
  return {
    ...multipart,
    begin: (...args) => timed('store', () => multipart.begin(...args)),
    parts: (...args) => timed('store', () => multipart.parts(...args)),
    complete: (...args) => timed('store', () => multipart.complete(...args)),
  }
}
