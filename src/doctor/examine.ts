/**
 * Looks at a whole set-up from outside: by the checks of the start, and at what the start cannot see. Changes nothing but
 * a few objects in the bucket, which it removes, and with `fix` the bucket's CORS; as the start, it makes a bucket that is
 * missing.
 */
import { linkSecretsOf, NO_LINK_SECRET } from '../boot/ports.ts'
import { type Config, ConfigError, readConfig } from '../config/config.ts'
import type { Finding } from '../finding.ts'
import { examineKeys } from './auth.ts'
import { examineBackup } from './backup.ts'
import { compareClocks } from './clocks.ts'
import { examineDatabase } from './database.ts'
import { examineGateway } from './gateway.ts'
import { examineRedis } from './redis.ts'
import type { Examined } from './set-up.ts'
import { examineStore } from './store.ts'

export type Options = {
  /** Of the gateway in front of a running service. */
  gateway?: string | undefined
  /** Credentials for the gateway. */
  headers?: Record<string, string>
  fix?: boolean
  now?: () => number
}

/** `lookedAt`: the names of what was looked at. */
export type Diagnosis = { findings: Finding[]; lookedAt: string[] }

/** @param env undefined: that of the process; where the settings are wrong themselves, nothing else can be looked at */
export async function diagnose(
  env: Record<string, string | undefined> | undefined,
  options: Options = {},
): Promise<Diagnosis> {
  try {
    return await examine(readConfig(env), options)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { findings: [...error.findings], lookedAt: ['settings'] }
  }
}

async function examine(config: Config, options: Options): Promise<Diagnosis> {
  const { gateway, headers = {}, fix = false, now = Date.now } = options
  const { ports, media, http } = config
  const { databaseUrl, redisUrl, redisSentinels, rateLimitPerMinute, s3 } = ports
  const examined: (Examined | undefined)[] = await Promise.all([
    ofSettings(config),
    databaseUrl === undefined ? undefined : examineDatabase({ ...ports, databaseUrl }, now),
    s3 && examineStore(s3, { ...media, origins: originsOf(http) }, { now, fix }),
    redisUrl === undefined
      ? undefined
      : examineRedis({ url: redisUrl, sentinels: redisSentinels }, rateLimitPerMinute, now),
    examineKeys(config.auth),
    gateway === undefined ? undefined : examineGateway(gateway, headers, config),
    examineBackup(config.backup, now),
  ])
  const there = examined.filter((each) => each !== undefined)
  const clocks = compareClocks(there.flatMap(({ clock }) => clock ?? []))
  return {
    findings: [...there.flatMap(({ findings }) => findings), ...clocks],
    lookedAt: there.map(({ name }) => name),
  }
}

/** Of pages that upload: the apps', and the service's own where it has the console. */
function originsOf({ corsOrigins, console, publicBaseUrl }: Config['http']): string[] {
  const own = console === true && publicBaseUrl !== undefined ? [new URL(publicBaseUrl).origin] : []
  return [...new Set([...corsOrigins, ...own])]
}

function ofSettings(config: Config): Examined {
  const { s3, databaseUrl } = config.ports
  const shared = s3 !== undefined && databaseUrl !== undefined
  const noSecret = shared && linkSecretsOf(config) === undefined
  return { name: 'settings', findings: [...config.nearMisses, ...(noSecret ? [NO_LINK_SECRET] : [])] }
}
