/** Opens the store of the settings: an S3 bucket, whose traits are found out first, or files in the data folder. */
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import { SetupError, sentenceOf } from '../finding.ts'
import type { Log } from '../log.ts'
import type { Secrets } from '../secrets.ts'
import { createDiskStorage, type DiskStorage } from '../storage/disk/storage.ts'
import { createDiskTusStores } from '../storage/disk/tus.ts'
import { prepareBucket } from '../storage/s3/bucket.ts'
import { noTus } from '../storage/s3/no-tus.ts'
import type { FoundTraits } from '../storage/s3/probe.ts'
import type { S3Settings } from '../storage/s3/settings.ts'
import { createS3Storage } from '../storage/s3/storage.ts'
import { createS3TusStores, tusPartSizeOf } from '../storage/s3/tus.ts'
import type { Storage } from '../storage/storage.ts'
import { openTemporaryFiles } from '../storage/temporary.ts'
import { timedStorage } from '../storage/timed.ts'
import type { TusStores } from '../storage/tus.ts'
import { StoreUnfit } from '../storage/unfit.ts'
import type { DataDir } from './data-dir.ts'
import { reachable } from './reachable.ts'

type Deps = { linkSecrets: Secrets; inDataDir: () => Promise<DataDir>; log: Log }
type Store = {
  storage: Storage
  /** The same store, if it is the disk store. */
  disk: DiskStorage | undefined
  tusStores: TusStores
  /** For the log. */
  found: object
}

/** @throws SetupError, in production also for a store that is open to strangers */
export async function openStore(config: Config, deps: Deps): Promise<Store> {
  const { s3 } = config.ports
  return s3 === undefined ? openDisk(config.ports, deps) : openS3(s3, config, deps.log)
}

async function openDisk(settings: Config['ports'], { linkSecrets, inDataDir }: Deps): Promise<Store> {
  const dataDir = await inDataDir()
  const disk = await createDiskStorage({
    root: join(dataDir.path, 'files'),
    linkSecrets,
    maxBytes: settings.maxObjectBytes,
    now: Date.now,
  })
  const found = { name: disk.name, folder: dataDir.path, enforces: disk.enforces }
  return { storage: timedStorage(disk), disk, tusStores: createDiskTusStores(disk), found }
}

async function openS3(s3: S3Settings, config: Config, log: Log): Promise<Store> {
  const { cdnBaseUrl } = config.media
  const traits = await reachable('storage', log, () => prepareBucket(s3, { cdnBaseUrl }), isUnfit)
  const { production } = config.ports
  const openings = traits.findings.filter(({ severity }) => severity === 'wrong')
  if (production && openings.length > 0) throw new SetupError(openings)
  warnAbout(traits, log)
  const tusStores = traits.brokenParts === 'kept' ? noTus : await openTus(s3, config.ports, log)
  const { endpoint = 'AWS', bucket } = s3
  const found = { name: 's3', endpoint, bucket, server: traits.server, enforces: traits.enforces }
  return { storage: timedStorage(createS3Storage(s3, traits)), disk: undefined, tusStores, found }
}

const isUnfit = (error: unknown) => error instanceof StoreUnfit

function warnAbout(traits: FoundTraits, log: Log): void {
  const { guardCopies, guards, unguarded, enforces, brokenParts, multiDelete, findings } = traits
  for (const finding of findings)
    log.warn(`storage: ${sentenceOf(finding)}${finding.severity === 'wrong' ? '; refused in production' : ''}`)
  if (guardCopies) log.warn('storage: takes unsigned copies over upload links; links are signed against it')
  if (guards.length > 0)
    log.warn({ headers: guards }, 'storage: takes unsigned headers over upload links; links are signed against them')
  if (unguarded.length > 0)
    log.warn({ headers: unguarded }, 'storage: takes unsigned headers over upload links; complete looks at the outcome')
  if (!enforces.once) log.warn('storage: upload links work more than once; uploads are copied on completion')
  if (!enforces.checksum) log.warn('storage: does not check SHA-256; uploads that ask for it are refused')
  if (!enforces.whole) log.warn('storage: keeps uploads that broke off; presigned uploads must declare their size')
  if (brokenParts === 'unless-checked')
    log.warn(
      'storage: keeps parts that arrived in half, unless they have a checksum; clients must name the MD5 of each',
    )
  if (!multiDelete) log.warn('storage: has no DeleteObjects; objects are removed one by one')
}

async function openTus(s3: S3Settings, settings: Config['ports'], log: Log): Promise<TusStores> {
  const temporary = await openTemporaryFiles(settings.temporaryBytes)
  const needed = 2 * tusPartSizeOf(settings.maxObjectBytes)
  if (temporary.limit < Math.max(needed, settings.temporaryBytes))
    log.warn(
      { limit: temporary.limit, needed, setting: settings.temporaryBytes },
      'tus: the temporary folder is small; TEMPORARY_BYTES is what it should hold, and two parts of an upload at least',
    )
  return createS3TusStores(s3, settings.maxObjectBytes, temporary)
}
