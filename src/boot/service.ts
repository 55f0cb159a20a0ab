/** The service that the server and the commands share: the opened ports, and the domain on them. */
import type { Config } from '../config/config.ts'
import { sentenceOf } from '../finding.ts'
import type { Log } from '../log.ts'
import { createRepository, type Repository } from '../media/table/repository.ts'
import { createDecoders } from '../pictures/decoders.ts'
import type { Decoders } from '../pictures/decoding.ts'
import { decodersIn, readContainer } from './container.ts'
import { createDomain, type Domain } from './domain.ts'
import { openPorts, type Ports } from './ports.ts'

export type Service = Ports &
  Domain & {
    repository: Repository
    decoders: Decoders
    /** Stops the background work and the decoders, then closes the ports. */
    close(): Promise<void>
  }

// For decodes of upkeep; requests were drained before.
const DECODERS_STOP_MS = 1000

/** Opens the ports; nothing runs in the background until `relay` and `upkeep` are started. */
export async function openService(config: Config, log: Log): Promise<Service> {
  for (const finding of config.nearMisses) log.warn(`settings: ${sentenceOf(finding)}`)
  const sizes = { ...config.decoders, ...config.http }
  const count = decodersIn(await readContainer(), sizes)
  const ports = await openPorts(config, log)
  const repository = createRepository({ sql: ports.sql, ...config.media })
  const decoders = createDecoders({ ...config.decoders, decoders: count }, { log })
  const domain = createDomain({ ...ports, repository, decoders, log, now: Date.now }, config.media)
  const close = async () => {
    // Upkeep may wait for a decoder, so they stop at the same time.
    await Promise.all([domain.relay.stop(), domain.upkeep.stop(), decoders.stop(DECODERS_STOP_MS)])
    await ports.close()
  }
  return { ...ports, ...domain, repository, decoders, close }
}
