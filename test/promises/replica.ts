import type { Media } from '../../src/media/media.ts'
import { NO_QUOTAS } from '../../src/media/object/quota.ts'
import type { Relay } from '../../src/media/outbox/relay.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import type { Upkeep } from '../../src/media/upkeep/upkeep.ts'
import { createImageProbe } from '../../src/pictures/image.ts'
import { domainOn } from '../support/media/domain.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { type Circuit, createCircuit, type Plan, type Turn } from './circuit.ts'
import {
  AUTO_COMPLETE_SECONDS,
  MAX_OBJECT_BYTES,
  PENDING_SECONDS,
  RETENTION_SECONDS,
  UPLOAD_URL_SECONDS,
  type World,
} from './world.ts'

export type Replica = { media: Media; relay: Relay; upkeep: Upkeep; circuit: Circuit }

/** How an operation ended for who asked for it. */
export type Outcome<T> = { kind: 'answered'; value: T } | { kind: 'refused'; error: Error } | { kind: 'killed' }

// Never reached, but counted.
const QUOTAS = { quotaBytes: 10 ** 12, quotaObjects: 10 ** 6 }
const allowedTypes = new Set(['image/gif', 'image/png'])
const probeImage = createImageProbe({ allowedTypes, maxPixels: 1_000_000 })

type Options = {
  /** One of its calls to the outside goes wrong. */
  plan?: Plan
  turn?: Turn
  /** Without quotas, inserts of several objects go to the database together. */
  unlimited?: boolean
}

/** Starts a process with a CDN before public objects; nothing of it runs in the background. */
export function startReplica(world: World, { plan, turn, unlimited = false }: Options = {}): Replica {
  const { sql, clock } = world
  const { log } = createRecordingLog()
  const repository = createRepository({
    sql,
    pendingSeconds: PENDING_SECONDS,
    retentionSeconds: RETENTION_SECONDS,
    quotas: unlimited ? NO_QUOTAS : QUOTAS,
  })
  const circuit = createCircuit({ ...world, repository }, plan, turn)
  const ports = { ...circuit, log }
  const { media, relay, upkeep } = domainOn(
    { ...ports, probeImage, now: clock.now },
    {
      cdnBaseUrl: 'https://cdn.test',
      allowedTypes,
      pendingSeconds: PENDING_SECONDS,
      maxUploadBytes: MAX_OBJECT_BYTES,
      maxObjectBytes: MAX_OBJECT_BYTES,
      renditionSizes: [160, 320],
      signedUrlSeconds: 900,
      uploadUrlSeconds: UPLOAD_URL_SECONDS,
      autoCompleteSeconds: AUTO_COMPLETE_SECONDS,
      // Declarations may come without a size.
      quotas: NO_QUOTAS,
    },
  )
  return { media, relay, upkeep, circuit }
}

/** Has a process do something, and whatever comes of that in the background, then ends it. */
export async function attempt<T>(replica: Replica, work: (replica: Replica) => Promise<T>): Promise<Outcome<T>> {
  const { circuit } = replica
  const ended = work(replica).then(
    (value): Outcome<T> => ({ kind: 'answered', value }),
    (error): Outcome<T> => ({ kind: 'refused', error }),
  )
  const killed = circuit.fallen.then(async (): Promise<Outcome<T>> => {
    await circuit.quiet()
    return { kind: 'killed' }
  })
  const outcome = await Promise.race([ended, killed])
  await circuit.end()
  return outcome
}

/** Has a process do several things at the same time. Those without an answer when it dies count as killed. */
export async function byOneProcess<T>(
  replica: Replica,
  works: readonly ((replica: Replica) => Promise<T>)[],
): Promise<Outcome<T>[]> {
  const outcomes = works.map((): Outcome<T> => ({ kind: 'killed' }))
  await attempt(replica, () =>
    Promise.all(
      works.map(async (work, i) => {
        outcomes[i] = await work(replica).then(
          (value): Outcome<T> => ({ kind: 'answered', value }),
          (error): Outcome<T> => ({ kind: 'refused', error }),
        )
      }),
    ),
  )
  return outcomes
}

/** The same by a process that meets no fault. Throws what the work throws. */
export async function soundly<T>(world: World, work: (replica: Replica) => Promise<T>): Promise<T> {
  const outcome = await attempt(startReplica(world), work)
  if (outcome.kind === 'answered') return outcome.value
  throw outcome.kind === 'refused' ? outcome.error : new Error('a process without a fault has hung')
}

/** What a fresh process does after everything: one pass of each, in the order they start to run. Returns the failures. */
export async function passOver(world: World): Promise<string[]> {
  return soundly(world, async ({ relay, upkeep }) => {
    await relay.run()
    const { failed } = await upkeep.run()
    return failed.map((step) => `upkeep could not ${step}`)
  })
}
