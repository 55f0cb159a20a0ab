/** Finds out at start what Redis is, and whether it lets the service do what it has to. */
import { Cluster } from 'ioredis'
import { CA_VARIABLES, isCertificateError } from '../certificate.ts'
import { type Finding, findingsAbout, SetupError } from '../finding.ts'
import { createClient, modeIn, type RedisClient, readInfo } from './client.ts'
import { isRefusal } from './errors.ts'
import { type RedisCommand, rehearse } from './rehearse.ts'
import type { RedisTarget, Sentinels } from './target.ts'

export type RedisFound = {
  version: string | null
  mode: 'standalone' | 'sentinel' | 'cluster'
  policy: string | undefined
  /** Whether it takes no writes, as of now. */
  replica: boolean
  /** Whether it keeps every write on disk (`appendonly`). */
  appendOnly: boolean
}

type Setting = 'REDIS_URL' | 'REDIS_SENTINELS'

/** `serverTime`: Unix time in milliseconds, by its own clock; `findings`: what does not end the start. */
export type RedisProbe = { found: RedisFound; serverTime: number | undefined; findings: Finding[] }

/**
 * @param groups commands, of which those of a group have their keys on one node of a cluster
 * @returns undefined if Redis cannot be reached as of now, which may pass
 * @throws SetupError
 */
export async function probeRedis(
  target: RedisTarget,
  groups: readonly (readonly RedisCommand[])[],
): Promise<RedisProbe | undefined> {
  const single = await connected({ ...target, cluster: false })
  if (single === undefined) {
    if (target.sentinels !== undefined) await requireSentinels(target.sentinels)
    return undefined
  }
  try {
    const info = await readInfo(single)
    const found = foundIn(info)
    if (found.mode !== 'cluster')
      return { found, serverTime: serverTimeIn(info), findings: await useRights(single, groups, found) }
    if (target.sentinels !== undefined)
      throw new SetupError([
        wrong('REDIS_SENTINELS', 'Redis is a cluster, which has no Sentinels', 'remove the setting'),
      ])
  } catch (error) {
    return undefinedUnlessRefused(error)
  } finally {
    single.disconnect()
  }
  return probeCluster({ ...target, cluster: true }, groups)
}

async function probeCluster(
  target: RedisTarget,
  groups: readonly (readonly RedisCommand[])[],
): Promise<RedisProbe | undefined> {
  const cluster = await connected(target)
  if (cluster === undefined) return undefined
  try {
    const nodes = cluster instanceof Cluster ? cluster.nodes('master') : [cluster]
    const all = await Promise.all(nodes.map((node) => readInfo(node)))
    const [first] = all
    if (first === undefined) return undefined
    const found = { ...foundIn(first), appendOnly: all.map(foundIn).every(({ appendOnly }) => appendOnly) }
    return { found, serverTime: serverTimeIn(first), findings: await useRights(cluster, groups, found) }
  } catch (error) {
    return undefinedUnlessRefused(error)
  } finally {
    cluster.disconnect()
  }
}

/**
 * ioredis (6.0.0) says that Sentinels could not be asked, and not why.
 * @throws SetupError when one refuses the service and none lets it in
 */
async function requireSentinels({ hosts, username = '', password = '', tls }: Sentinels): Promise<void> {
  const login = password === '' ? '' : `${encodeURIComponent(username)}:${encodeURIComponent(password)}@`
  let refused: unknown
  for (const { host, port } of hosts) {
    const address = `${host.includes(':') ? `[${host}]` : host}:${port}`
    const url = `${tls ? 'rediss' : 'redis'}://${login}${address}`
    try {
      const client = await connected({ url, cluster: false }, 'REDIS_SENTINELS')
      client?.disconnect()
      if (client !== undefined) return
    } catch (error) {
      refused ??= error
    }
  }
  if (refused !== undefined) throw refused
}

/**
 * A client with a connection; undefined if there is none to be had.
 * @param setting names the address
 */
async function connected(target: RedisTarget, setting: Setting = 'REDIS_URL'): Promise<RedisClient | undefined> {
  const client = createClient(target, {
    connectTimeout: 1000,
    commandTimeout: 2000,
    socketTimeout: 3000,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  const errors: unknown[] = []
  client.on('error', (error: unknown) => errors.push(error))
  try {
    await client.connect()
    if (errors.some(isRefusal)) throw new Error('connected, but refused')
    return client
  } catch (error) {
    client.disconnect()
    return undefinedUnlessRefused(errors.find(isRefusal) ?? error, setting)
  }
}

function foundIn(info: Map<string, string>): RedisFound {
  const mode = modeIn(info)
  const policy = info.get('maxmemory_policy')
  if (mode === 'sentinel') throw new SetupError([SENTINEL])
  if (policy?.startsWith('allkeys') && Number(info.get('maxmemory') ?? 0) > 0) throw new SetupError([evicting(policy)])
  return {
    version: info.get('valkey_version') ?? info.get('redis_version') ?? null,
    mode: mode === 'cluster' ? mode : 'standalone',
    policy,
    replica: info.get('role') === 'slave',
    appendOnly: info.get('aof_enabled') === '1',
  }
}

/** In microseconds, since Redis 6.2; the command TIME would need a right of its own. */
function serverTimeIn(info: Map<string, string>): number | undefined {
  const microseconds = Number(info.get('server_time_usec') ?? 0)
  return microseconds > 0 ? microseconds / 1000 : undefined
}

/** Returns why it takes no events as of now, which may pass. */
async function useRights(
  client: RedisClient,
  groups: readonly (readonly RedisCommand[])[],
  { replica }: Pick<RedisFound, 'replica'>,
): Promise<Finding[]> {
  const lacking = new Map<string, Error>()
  let full: string | undefined
  for (const commands of groups) {
    const refused = await rehearse(client, commands)
    for (const { command, error } of refused) {
      if (/^NOPERM|^ERR unknown command/i.test(error.message)) lacking.set(command[0], error)
      else if (/^(OOM|MISCONF)/.test(error.message)) full ??= error.message
    }
  }
  const [cause] = lacking.values()
  if (cause !== undefined) throw new SetupError([denied(`+${[...lacking.keys()].join(' +')}`)], { cause })
  return [...(replica ? [REPLICA] : []), ...(full === undefined ? [] : [refusing(full)])]
}

/** What is no refusal may pass. */
function undefinedUnlessRefused(error: unknown, setting: Setting = 'REDIS_URL'): undefined {
  if (error instanceof SetupError) throw error
  if (isRefusal(error)) throw new SetupError([findingOf(error, setting)], { cause: error })
}

function findingOf(error: unknown, setting: Setting): Finding {
  const message = error instanceof Error ? error.message : ''
  if (isCertificateError(error)) return untrusted(setting)
  if (/^NOPERM/.test(message)) return denied('+info +multi +discard')
  if (/^ERR (DB index|SELECT)/i.test(message)) return NO_DATABASE
  return notLetIn(setting)
}

const { wrong, warning } = findingsAbout('redis')
const SENTINEL = wrong(
  'REDIS_URL',
  'names a Sentinel',
  'REDIS_SENTINELS is for those, and the host of REDIS_URL is the name of the master',
)
const untrusted = (setting: Setting) =>
  wrong(setting, "the server's certificate is not accepted", `${CA_VARIABLES} names the file of its CA`)
const NO_DATABASE = wrong('REDIS_URL', 'there is no such database', 'name one from 0 on at its end')
const notLetIn = (setting: Setting) =>
  wrong(setting, 'Redis does not let the service in', 'the user or password may be wrong or missing')
const denied = (rights: string) =>
  wrong('REDIS_URL', `the user may not do all that is needed: ${rights}`, 'add it with ACL SETUSER')
const evicting = (policy: string) =>
  wrong(
    'REDIS_URL',
    `with maxmemory-policy ${policy} Redis removes events that nobody has read`,
    'set noeviction or volatile-lru',
  )
const REPLICA = warning(
  'REDIS_URL',
  'names a replica, which takes no events; they stay in the outbox',
  'name the master, or set REDIS_SENTINELS',
)
const refusing = (message: string) =>
  warning('REDIS_URL', `Redis takes no events: ${message.slice(0, 80)}`, 'give it memory and disk space')
