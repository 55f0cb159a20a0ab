import type { Log } from '../../../src/log.ts'
import { createDecode } from '../../../src/media/decoding/decode.ts'
import type { Relay } from '../../../src/media/outbox/relay.ts'
import { createPublicity } from '../../../src/media/public-copies/address.ts'
import { createPublish } from '../../../src/media/public-copies/publish.ts'
import type { Repository } from '../../../src/media/table/repository.ts'
import type { Decoders } from '../../../src/pictures/decoding.ts'
import type { Storage } from '../../../src/storage/storage.ts'
import { createInProcessDecoders } from '../pictures/in-process.ts'

type Parts = { repository: Repository; storage: Storage; relay: Relay; log: Log }
type Settings = { cdnBaseUrl?: string | undefined; publicOriginals?: boolean; decoders?: Decoders }

/** What makes something of stored bytes, put together as the service does. */
export function publishing(parts: Parts, { decoders = createInProcessDecoders(), ...settings }: Settings = {}) {
  const decode = createDecode({ ...parts, decoders, limits: { signedUrlSeconds: 900 } })
  const publicity = createPublicity({ publicOriginals: false, baseUrl: 'http://media.test', ...settings })
  return { publicity, decode, publish: createPublish({ ...parts, decode, publicity }) }
}
