/** The parts put together as far as the server and the commands share it. */
import type { Config } from '../config.ts'
import type { Log } from '../log.ts'
import { createDecode, type Decode } from '../media/decoding/decode.ts'
import { createRelay, type Relay } from '../media/outbox/relay.ts'
import { createPublicity, type Publicity } from '../media/public-copies/address.ts'
import { createPublish, type Publish } from '../media/public-copies/publish.ts'
import { createRepository, type Repository } from '../media/table/repository.ts'
import { createUpkeep, type Upkeep } from '../media/upkeep/upkeep.ts'
import { createDecoders } from '../pictures/decoders.ts'
import type { Decoders } from '../pictures/decoding.ts'
import { createImageProbe, type ProbeImage } from '../pictures/image.ts'
import { decodersIn, readContainer } from './container.ts'
import { openParts, type Parts } from './ports.ts'

export type Service = Parts & {
  repository: Repository
  relay: Relay
  upkeep: Upkeep
  probeImage: ProbeImage
  decoders: Decoders
  decode: Decode
  publicity: Publicity
  publish: Publish
}

// What upkeep has begun; requests have been waited for before.
const DECODERS_STOP_MS = 1000

/** Opens the parts; nothing runs in the background until `relay` and `upkeep` are started. */
export async function openService(config: Config, log: Log): Promise<Service> {
  const count = decodersIn(await readContainer(), config)
  const parts = await openParts(config, log)
  const { sql, storage, events } = parts
  const repository = createRepository({ sql, ...config })
  const relay = createRelay({ repository, events, log })
  const probeImage = createImageProbe({ allowedTypes: config.allowedTypes, maxPixels: config.maxImagePixels })
  const decoders = createDecoders({ ...config, decoders: count }, { log })
  const decode = createDecode({ decoders, repository, storage, limits: config })
  const publicity = createPublicity({ ...config, baseUrl: baseUrlOf(config) })
  const publish = createPublish({ repository, storage, relay, decode, publicity, log })
  const upkeep = createUpkeep({
    repository,
    storage,
    relay,
    decode,
    publicity,
    publish,
    log,
    now: Date.now,
    ...config,
  })
  const close = async () => {
    await decoders.stop(DECODERS_STOP_MS)
    await parts.close()
  }
  return { ...parts, repository, relay, upkeep, probeImage, decoders, decode, publicity, publish, close }
}

/** Where consumers of events reach the service. Without PUBLIC_BASE_URL, as on a developer's machine, where it listens. */
function baseUrlOf({ publicBaseUrl, host, port }: Config): string {
  return publicBaseUrl ?? `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
