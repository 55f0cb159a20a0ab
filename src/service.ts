/** The parts put together as far as the server and the commands share it. */
import type { Config } from './config.ts'
import type { Log } from './log.ts'
import { createClean } from './media/clean.ts'
import { createMakePlaceholder } from './media/placeholder.ts'
import { createPublicity, type Publicity } from './media/publicity.ts'
import { createPublish, type Publish } from './media/publish.ts'
import { createRelay, type Relay } from './media/relay.ts'
import { createRepository, type Repository } from './media/repository.ts'
import { createUpkeep, type Upkeep } from './media/upkeep.ts'
import { openParts, type Parts } from './parts.ts'
import { createImageProbe, type ProbeImage } from './pictures/image.ts'

export type Service = Parts & {
  repository: Repository
  relay: Relay
  upkeep: Upkeep
  probeImage: ProbeImage
  publicity: Publicity
  publish: Publish
}

/** Opens the parts; nothing runs in the background until `relay` and `upkeep` are started. */
export async function openService(config: Config, log: Log): Promise<Service> {
  const parts = await openParts(config, log)
  const { sql, storage, events } = parts
  const repository = createRepository({ sql, ...config })
  const relay = createRelay({ repository, events, log })
  const probeImage = createImageProbe({ allowedTypes: config.allowedTypes, maxPixels: config.maxImagePixels })
  const makePlaceholder = createMakePlaceholder({ probeImage })
  const publicity = createPublicity(config)
  const publish = createPublish({ repository, storage, relay, clean: createClean({ probeImage }), publicity, log })
  const upkeep = createUpkeep({
    repository,
    storage,
    relay,
    makePlaceholder,
    publicity,
    publish,
    log,
    now: Date.now,
    ...config,
  })
  return { ...parts, repository, relay, upkeep, probeImage, publicity, publish }
}
