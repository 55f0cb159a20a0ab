/** Composes the domain from its ports, for the server, the commands and the tests. */
import type { EventBus } from '../events/events.ts'
import type { Log } from '../log.ts'
import { createInspect } from '../media/bytes/inspect.ts'
import { createDecode } from '../media/decoding/decode.ts'
import type { Limits } from '../media/deps.ts'
import { createMedia, type Media } from '../media/media.ts'
import { createLiveEvents, type LiveEvents } from '../media/outbox/live-events.ts'
import { createRelay, type Relay } from '../media/outbox/relay.ts'
import { createPublicAccess, type PublicAccess } from '../media/public-copies/access.ts'
import { createPublicCopyMaker, type MakePublicCopy } from '../media/public-copies/make.ts'
import type { Repository } from '../media/table/repository.ts'
import { createUpkeep, type Upkeep } from '../media/upkeep/upkeep.ts'
import type { Decoders } from '../pictures/decoding.ts'
import { createImageProbe, type ProbeImage } from '../pictures/image.ts'
import type { Storage } from '../storage/storage.ts'
import type { TusStores } from '../storage/tus.ts'

export type DomainPorts = {
  repository: Repository
  storage: Storage
  /** The same store, for tus uploads. */
  tusStores: Pick<TusStores, 'open' | 'hasAll'>
  events: EventBus
  decoders: Decoders
  log: Log
  /** Unix time in milliseconds. */
  now: () => number
  /** Absent: a probe with the limits of the settings, which sets up libvips for the process. */
  probeImage?: ProbeImage
}

/** Sizes in bytes, times in seconds. */
export type DomainSettings = Limits & {
  maxImagePixels: number
  pendingSeconds: number
  /** Absent: the service itself serves public objects. */
  cdnBaseUrl?: string | undefined
  /** Whether public pictures are served as uploaded, with their metadata. */
  publicOriginals: boolean
  /** The service's base URL for consumers of events. */
  baseUrl: string
}

export type Domain = {
  media: Media
  relay: Relay
  upkeep: Upkeep
  publicAccess: PublicAccess
  makePublicCopy: MakePublicCopy
  liveEvents: LiveEvents
}

/** Nothing runs in the background until `relay` and `upkeep` are started. */
export function createDomain(ports: DomainPorts, settings: DomainSettings): Domain {
  const { events, log } = ports
  const { allowedTypes, maxImagePixels: maxPixels, pendingSeconds } = settings
  const relay = createRelay({ repository: ports.repository, events, log })
  const probeImage = ports.probeImage ?? createImageProbe({ allowedTypes, maxPixels })
  const inspect = createInspect({ allowedTypes, probeImage })
  const decode = createDecode({ ...ports, limits: settings })
  const publicAccess = createPublicAccess(settings)
  const makePublicCopy = createPublicCopyMaker({ ...ports, relay, decode, publicAccess })
  const made = { relay, decode, publicAccess, makePublicCopy }
  const media = createMedia({ ...ports, ...made, inspect, limits: settings })
  const { completeArrived } = media.uploads
  const autoComplete = settings.autoCompleteSeconds !== null
  return {
    media,
    upkeep: createUpkeep({ ...ports, ...made, completeArrived, autoComplete, pendingSeconds }),
    liveEvents: createLiveEvents({ events }),
    relay,
    publicAccess,
    makePublicCopy,
  }
}
