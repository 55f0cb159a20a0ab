import type { Log } from '../../src/log.ts'
import { type Clean, createClean } from '../../src/media/clean.ts'
import { createMakePlaceholder } from '../../src/media/placeholder.ts'
import { createPublicity } from '../../src/media/publicity.ts'
import { createPublish } from '../../src/media/publish.ts'
import type { Relay } from '../../src/media/relay.ts'
import { createRender } from '../../src/media/render.ts'
import type { Repository } from '../../src/media/repository.ts'
import type { ProbeImage } from '../../src/pictures/image.ts'
import type { Storage } from '../../src/storage/storage.ts'

type Parts = { repository: Repository; storage: Storage; relay: Relay; log: Log; probeImage: ProbeImage }

/** What makes something of stored bytes, put together as the service does. */
export function publishing(
  { probeImage, ...parts }: Parts,
  {
    clean = createClean({ probeImage }),
    ...settings
  }: { cdnBaseUrl?: string | undefined; publicOriginals?: boolean; clean?: Clean } = {},
) {
  const publicity = createPublicity({ publicOriginals: false, ...settings })
  const publish = createPublish({ ...parts, clean, publicity })
  return {
    publicity,
    publish,
    makePlaceholder: createMakePlaceholder({ probeImage }),
    render: createRender({ probeImage }),
  }
}
