import { createDomain, type Domain, type DomainPorts, type DomainSettings } from '../../../src/boot/domain.ts'
import { createMemoryEventBus } from '../../../src/events/memory.ts'
import { NO_QUOTAS } from '../../../src/media/object/quota.ts'
import { noTus } from '../../../src/storage/s3/no-tus.ts'
import { DEFAULT_TYPES } from '../pictures/corpus.ts'
import { createInProcessDecoders } from '../pictures/in-process.ts'
import { createRecordingLog } from '../process/recording-log.ts'

type Needed = Pick<DomainPorts, 'repository' | 'storage'>

/** The domain as the service puts it together; what is not given is in memory, or has a default that bothers no test. */
export function domainOn(ports: Needed & Partial<DomainPorts>, settings: Partial<DomainSettings> = {}): Domain {
  const { log } = createRecordingLog()
  const given = {
    tusStores: noTus,
    events: createMemoryEventBus(),
    decoders: createInProcessDecoders(),
    log,
    now: Date.now,
    ...ports,
  }
  return createDomain(given, { ...SETTINGS, ...settings })
}

const SETTINGS: DomainSettings = {
  allowedTypes: DEFAULT_TYPES,
  maxImagePixels: 1e8,
  maxUploadBytes: 1e7,
  maxObjectBytes: 1e7,
  renditionSizes: [160, 320],
  signedUrlSeconds: 900,
  uploadUrlSeconds: 900,
  autoCompleteSeconds: null,
  pendingSeconds: 1000,
  quotas: NO_QUOTAS,
  publicOriginals: false,
  baseUrl: 'http://media.test',
}
