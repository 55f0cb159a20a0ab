/** Reads database URLs as libpq, managed databases and other clients write them. */

export type DatabaseServer = {
  /** In order of preference; a host that begins with a slash is the folder of a Unix socket. */
  hosts: { host: string; port: number }[]
  user: string | undefined
  password: string | undefined
  database: string | undefined
  tls: TlsSettings
  /** False if the URL says that a pooler does not carry prepared statements; undefined if it says nothing. */
  prepare: boolean | undefined
  /** Size of the pool, as Prisma's `connection_limit` gives it. */
  connections: number | undefined
  /** Parameters of the session, for the server. */
  session: Record<string, string>
}

type TlsSettings = {
  /**
   * `prefer`: TLS if the server has it; `require`: always, with any certificate; `verify-ca`: with one by a trusted CA;
   * `verify-full`: and for this host.
   */
  mode: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full'
  /** Without the request for TLS in plain text, as Postgres 17 allows. */
  direct: boolean
  /** Paths of PEM files. Without `ca`, the runtime's own list of CAs counts. */
  ca: string | undefined
  cert: string | undefined
  key: string | undefined
}

const PORT = 5432
// WHATWG's parser refuses several hosts with ports, and an empty host with a user (`postgres://me@/db?host=/socket`).
const URL_PATTERN =
  /^postgres(?:ql)?:\/\/(?:(?<login>[^/?]*)@)?(?<hosts>[^/?]*)(?:\/(?<database>[^?]*))?(?:\?(?<query>.*))?$/

/**
 * Parameters of clients whose work this service does itself, or that change nothing about the connection: timeouts,
 * keep-alive, names, pools.
 */
const IGNORED =
  /^(keepalives|keepalives_(idle|interval|count)|keep_alive|tcp_user_timeout|connect_?timeout|pool_timeout|socket_timeout|idle_timeout|max_lifetime|max_idle_connection_lifetime|backoff|max|max_pipeline|fetch_types|load_balance_hosts|(fallback_)?application_name|gssencmode|krbsrvname|gsslib|sslcompression|sslsni|client_encoding|charset|serverVersion|supa|uselibpqcompat)$/i
/** Parameters that restrict the connection in ways that postgres.js does not know. */
const UNSUPPORTED =
  /^(hostaddr|service|servicefile|passfile|requirepeer|require_auth|replication|sslcrl|sslcrldir|sslpassword|ssl_(min|max)_protocol_version|requiressl)$/i

/** @throws Error whose message says what was expected, without any secret */
export function parseDatabaseUrl(text: string): DatabaseServer {
  const parts = URL_PATTERN.exec(text)?.groups
  if (parts === undefined) throw new Error('expected a postgres:// URL')
  const query = new Map(new URLSearchParams(parts.query ?? ''))
  const take = (...names: string[]) => {
    const found = names.flatMap((name) => query.get(name) || [])
    for (const name of names) query.delete(name)
    return found[0]
  }
  const [login = '', ...rest] = (parts.login ?? '').split(':')
  const target = take('target_session_attrs', 'targetServerType')
  if (target !== undefined && !['any', 'read-write', 'primary'].includes(target))
    throw new Error('target_session_attrs: expected read-write or primary, for the service changes rows')
  const server = {
    hosts: hostsOf(take('host') ?? decoded(parts.hosts ?? ''), take('port')),
    user: take('user', 'username') ?? (decoded(login) || undefined),
    password: take('password') ?? (decoded(rest.join(':')) || undefined),
    database: take('dbname') ?? (decoded(parts.database ?? '') || undefined),
    tls: tlsOf(take),
    prepare: preparesOf(take),
    connections: connectionsOf(take('connection_limit')),
  }
  return { ...server, session: sessionOf(take('schema', 'currentSchema', 'search_path'), query) }
}

type Take = (...names: string[]) => string | undefined

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Error('expected each % to begin an escape, such as %25 for a % in the password')
  }
}

function hostsOf(list: string, portList: string | undefined): DatabaseServer['hosts'] {
  const ports = portList?.split(',')
  const hosts = list.split(',').map((item, i) => {
    const folder = item.startsWith('/')
    const [, v6, name, ownPort] = (folder ? null : /^(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?$/.exec(item)) ?? []
    if (!folder && v6 === undefined && name === undefined)
      throw new Error('expected hosts as host:port, comma-separated')
    const port = Number(ownPort || ports?.[ports.length === 1 ? 0 : i] || PORT)
    if (!(port >= 1 && port <= 65_535)) throw new Error('expected ports from 1 to 65535')
    return { host: folder ? item : v6 || name || 'localhost', port }
  })
  if (hosts.length > 1 && hosts.some(({ host }) => host.startsWith('/')))
    throw new Error('expected one host only where it is the folder of a Unix socket')
  return hosts
}

function tlsOf(take: Take): TlsSettings {
  const [ssl, sslmode, accept] = [take('ssl'), take('sslmode'), take('sslaccept')]
  const ca = take('sslrootcert')
  const bound = take('channel_binding') === 'require'
  const { [sslmode ?? ssl ?? (ca === undefined ? 'disable' : 'verify-ca')]: asked } = MODES
  if (asked === undefined)
    throw new Error('sslmode: expected disable, allow, prefer, require, verify-ca or verify-full')
  if (bound && asked === 'disable' && (sslmode ?? ssl) !== undefined)
    throw new Error('channel_binding=require: expected another sslmode than disable')
  // postgres.js (3.4.9) has no channel binding. It keeps others from standing in for the server, as does its certificate.
  const verified = bound || ca === 'system' || (accept === 'strict' && asked !== 'disable')
  const mode = verified ? 'verify-full' : ca !== undefined && /prefer|require/.test(asked) ? 'verify-ca' : asked
  return {
    mode,
    direct: take('sslnegotiation') === 'direct',
    ca: ca === 'system' ? undefined : ca,
    cert: take('sslcert'),
    key: take('sslkey'),
  }
}

const MODES: Record<string, TlsSettings['mode']> = {
  disable: 'disable',
  false: 'disable',
  allow: 'prefer',
  prefer: 'prefer',
  require: 'require',
  'no-verify': 'require',
  'verify-ca': 'verify-ca',
  'verify-full': 'verify-full',
  true: 'verify-full',
}

function preparesOf(take: Take): boolean | undefined {
  const told = [take('prepare') === 'false', take('pgbouncer') === 'true', take('no_prepare') === 'true']
  return [...told, take('statement_cache_size', 'prepareThreshold') === '0'].includes(true) ? false : undefined
}

function connectionsOf(limit: string | undefined): number | undefined {
  if (limit === undefined) return undefined
  if (!/^[1-9]\d{0,2}$/.test(limit)) throw new Error('connection_limit: expected a whole number from 1 to 999')
  return Number(limit)
}

/** What is left is for the server, which refuses what it does not know. */
function sessionOf(schema: string | undefined, query: Map<string, string>): Record<string, string> {
  const session: Record<string, string> = schema === undefined ? {} : { search_path: schema }
  for (const [name, value] of query) {
    if (UNSUPPORTED.test(name)) throw new Error(`${name}: expected none, for the service does not support it`)
    if (!IGNORED.test(name)) session[name] = value
  }
  return session
}
