/** Reads and checks the settings: the only module that reads the environment. */
import process from 'node:process'
import { type Finding, findingsAbout, SetupError } from '../finding.ts'
import type { S3Settings } from '../storage/s3/settings.ts'
import { nearMisses } from './near-misses.ts'
import { type Name, type Setting, settings, type Values } from './settings.ts'
import { discovers, toSlices } from './slices.ts'
import { httpUrl } from './values.ts'

/** The settings as slices, one for each room that is given any. Sizes are in bytes, times in seconds. */
export type Config = ReturnType<typeof readConfig>

/** All wrong settings: each line names one and says what was expected. */
export class ConfigError extends SetupError {
  override readonly name = 'ConfigError'

  constructor(problems: string[]) {
    super(problems.map(asFinding))
    this.message = `The settings are wrong:\n${problems.map((p) => `  ${p}`).join('\n')}`
  }
}

function asFinding(problem: string): Finding {
  const [, setting = '', said = problem] = /^([^:]+): (.*)$/s.exec(problem) ?? []
  return findingsAbout('settings').wrong(setting, said, '`bun run config` explains every setting')
}

/**
 * Reads and checks all settings. An empty value counts as absent, as Compose passes them.
 * @throws ConfigError that lists every wrong setting, never only the first
 */
export function readConfig(env: Record<string, string | undefined> = process.env) {
  const problems: string[] = []
  const values: Record<string, unknown> = {}
  for (const [name, { schema, fallback }] of Object.entries<Setting<unknown>>(settings)) {
    const given = env[name] || fallback
    if (given === undefined) continue
    const parsed = schema.safeParse(given)
    if (parsed.success) values[name] = parsed.data
    else problems.push(`${name}: ${parsed.error.issues[0]?.message}`)
  }
  problems.push(...contradictions((name) => Boolean(env[name]), values))
  if (problems.length > 0) throw new ConfigError(problems)
  const defaults = Object.entries<Setting<unknown>>(settings).flatMap(([name, { fallback }]) =>
    fallback === undefined || env[name] ? [] : [name],
  )
  return { ...toSlices(values as Values), defaults, nearMisses: nearMisses(env) }
}

/**
 * What a command that needs only the database reads. The other settings may be absent or wrong, but in production the
 * database may not be an embedded one.
 * @throws ConfigError
 */
export function readDatabaseConfig(
  env: Record<string, string | undefined> = process.env,
): Pick<Config, 'ports' | 'log'> {
  const { NODE_ENV, DATABASE_URL, DATABASE_PREPARED_STATEMENTS, DATA_DIR, LOG_LEVEL } = env
  if (NODE_ENV === 'production' && !DATABASE_URL) throw new ConfigError(['DATABASE_URL: expected in production'])
  // Without MIGRATE, which is about the serving replicas.
  return readConfig({ DATABASE_URL, DATABASE_PREPARED_STATEMENTS, DATA_DIR, LOG_LEVEL })
}

/** @throws ConfigError when it is wrong */
export function readUserIdNamespace(env: Record<string, string | undefined> = process.env): string | undefined {
  const { USER_ID_NAMESPACE } = env
  // The command asks no identity provider, so that it does not matter which one it is.
  return readConfig({ USER_ID_NAMESPACE, AUTH_ISSUER: 'https://issuer.invalid' }).auth.userIdNamespace
}

/**
 * What a command that needs only a store reads: the store at this URL, whose path is the bucket (absent: `media`), with
 * the key that the settings name.
 * @throws ConfigError
 */
export function readStoreConfig(url: string, env: Record<string, string | undefined> = process.env): S3Settings {
  const { origin, pathname } = new URL(url)
  const { S3_REGION, S3_FORCE_PATH_STYLE, AWS_REGION } = env
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = env
  const place = { S3_ENDPOINT: origin, S3_BUCKET: pathname.slice(1), S3_REGION, S3_FORCE_PATH_STYLE, AWS_REGION }
  const { ports } = readConfig({ ...place, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN })
  if (ports.s3 === undefined) throw new ConfigError(['S3_ENDPOINT: expected'])
  return ports.s3
}

/** The settings as text, one block each: name, documentation, and current value or default (secrets hidden). */
export function describeSettings(env: Record<string, string | undefined> = process.env): string {
  return Object.entries<Setting<unknown>>(settings)
    .map(([name, { doc, fallback, secret }]) => {
      const given = env[name]
      const now = given
        ? `set: ${secret ? '(hidden)' : withoutCredentials(given)}`
        : fallback
          ? `default: ${fallback}`
          : 'not set'
      return `${name}\n  ${doc}\n  ${now}`
    })
    .join('\n')
}

/** Hides user info and query of a URL that is not a secret as a whole: both may hold one. */
function withoutCredentials(value: string): string {
  return value.replace(/\/\/[^/]*@/, '//(hidden)@').replace(/\?.*$/, '?(hidden)')
}

/** Settings that are each valid, but not in this combination. */
function contradictions(isSet: (name: Name) => boolean, values: Record<string, unknown>): string[] {
  const production = values.NODE_ENV === 'production'
  const problems: string[] = []
  const needInProduction = (...names: Name[]) => {
    if (production && !names.some(isSet)) problems.push(`${names.join(' or ')}: expected in production`)
  }
  needInProduction('PUBLIC_BASE_URL')
  needInProduction('DATABASE_URL')
  needInProduction('REDIS_URL')
  needInProduction('S3_BUCKET', 'S3_ENDPOINT')
  needInProduction('AUTH_JWT_SECRET', 'AUTH_JWKS_URL', 'AUTH_ISSUER', 'GATEWAY_SECRET')
  if (isSet('AWS_ACCESS_KEY_ID') !== isSet('AWS_SECRET_ACCESS_KEY'))
    problems.push('AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: expected both or neither')
  if (isSet('AWS_SESSION_TOKEN') && !isSet('AWS_ACCESS_KEY_ID'))
    problems.push('AWS_SESSION_TOKEN: expected AWS_ACCESS_KEY_ID beside it')
  if (isSet('S3_PUBLIC_ENDPOINT') && !isSet('S3_ENDPOINT') && !isSet('S3_BUCKET'))
    problems.push('S3_PUBLIC_ENDPOINT: expected S3_ENDPOINT or S3_BUCKET beside it')
  if (isSet('USER_ID_NAMESPACE') && !isSet('AUTH_ISSUER'))
    problems.push('AUTH_ISSUER: expected beside USER_ID_NAMESPACE, since two issuers may give one name to two users')
  if (discovers(isSet) && !httpUrl.safeParse(values.AUTH_ISSUER).success)
    problems.push(
      'AUTH_ISSUER: expected an http or https URL, at which keys are discovered, or AUTH_JWT_SECRET, AUTH_JWKS_URL or GATEWAY_SECRET beside it',
    )
  for (const name of ['GATEWAY_USER_HEADER', 'GATEWAY_ROLE_HEADER'] as const)
    if (isSet(name) && !isSet('GATEWAY_SECRET'))
      problems.push(`GATEWAY_SECRET: expected beside ${name}, since only a gateway is trusted to name users`)
  if (sameHeader(values.GATEWAY_USER_HEADER, values.GATEWAY_ROLE_HEADER))
    problems.push('GATEWAY_USER_HEADER, GATEWAY_ROLE_HEADER: expected two different headers')
  if (isSet('REDIS_SENTINELS') && !isSet('REDIS_URL'))
    problems.push('REDIS_SENTINELS: expected REDIS_URL beside it, with the name of the master as its host')
  return problems
}

function sameHeader(one: unknown, other: unknown): boolean {
  return typeof one === 'string' && typeof other === 'string' && one.toLowerCase() === other.toLowerCase()
}
