import { v7 as uuidv7 } from 'uuid'
import type { Caller } from '../../../src/auth/caller.ts'
import type { NewObject } from '../../../src/media/object/new-object.ts'
import { prefixOf } from '../../../src/media/object/object.ts'

/** A pending object as an upload of a picture makes it; of a new person unless told otherwise. */
export function newObject(some: Partial<NewObject> = {}): NewObject {
  const madeAt = some.madeAt ?? Date.now()
  const id = some.id ?? uuidv7({ msecs: madeAt })
  return {
    id,
    madeAt,
    userId: crypto.randomUUID(),
    originalName: 'rocket.jpg',
    mimeType: 'image/jpeg',
    sizeBytes: 12,
    key: `${prefixOf(id)}original.jpg`,
    visibility: 'private',
    metadata: {},
    linksSeconds: 900,
    completeInSeconds: null,
    idempotency: undefined,
    ...some,
  }
}

export const callerOf = ({ userId }: { userId: string }): Caller => ({ userId, role: 'user' })
export const newCaller = (): Caller => ({ userId: crypto.randomUUID(), role: 'user' })
export const service: Caller = { userId: crypto.randomUUID(), role: 'service' }

/** What an upload found out, with the event it owes. */
export const arrived = {
  sizeBytes: 12,
  metadata: { width: 640, height: 427 },
  event: { channel: 'photo:uploaded', fields: { mimeType: 'image/jpeg', width: 640 } },
} as const
export const changed = { channel: 'photo:updated', fields: { visibility: 'public' } } as const
export const restored = { channel: 'photo:restored' } as const
