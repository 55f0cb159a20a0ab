/** What postgres.js is told about the server that a database URL names. */
import { readFileSync } from 'node:fs'
import { type ConnectionOptions, checkServerIdentity, type PeerCertificate } from 'node:tls'
import postgres from 'postgres'
import { findingsAbout, SetupError } from '../finding.ts'
import { createHosts, type Hosts } from './hosts.ts'
import { type DatabaseServer, parseDatabaseUrl } from './url.ts'

/** How long a connection may take to open, in seconds. */
export const CONNECT_SECONDS = 5

export type Server = DatabaseServer & {
  options: ReturnType<typeof optionsOf>
  /** Absent if the URL names one host. */
  primary: Hosts | undefined
}

/** The server that DATABASE_URL names. @throws SetupError */
export function readServer(url: string): Server {
  try {
    return serverOf(url)
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    throw new SetupError([findingsAbout('database').wrong('DATABASE_URL', problem, 'correct the URL')], {
      cause: error,
    })
  }
}

/** @throws Error that says what is wrong with the URL */
export function serverOf(url: string): Server {
  const server = parseDatabaseUrl(url)
  const options = optionsOf(server)
  const primary = server.hosts.length > 1 ? createHosts(server.hosts, { ...options, ...PROBE }) : undefined
  return { ...server, options: { ...options, ...(primary && { socket: primary.socket }) }, primary }
}

/** Opens a handle with one connection, for finding out about the server. */
export function connectOnce({ options }: Server): postgres.Sql {
  return postgres({ ...options, ...PROBE, max: 1, prepare: true })
}

// postgres.js (3.4.9) queries the array types on each new connection without handling failure.
const PROBE = { onnotice: () => {}, fetch_types: false, connect_timeout: CONNECT_SECONDS, prepare: false }

function optionsOf({ hosts, user, password, database, tls, session }: DatabaseServer) {
  const { host = 'localhost', port = 5432 } = hosts[0] ?? {}
  const folder = host.startsWith('/')
  return {
    ...(folder ? { path: `${host}/.s.PGSQL.${port}` } : { host, port }),
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
    ...(database !== undefined && { database }),
    // As libpq, no TLS on a Unix socket.
    ssl: folder ? false : tlsOptions(tls, hosts),
    ...(tls.direct && { sslnegotiation: 'direct' }),
    connection: session,
  }
}

function tlsOptions(
  { mode, ca, cert, key }: DatabaseServer['tls'],
  hosts: DatabaseServer['hosts'],
): false | 'prefer' | 'require' | ConnectionOptions {
  if (mode === 'disable') return false
  const own = {
    ...(cert !== undefined && { cert: read('sslcert', cert) }),
    ...(key !== undefined && { key: read('sslkey', key) }),
  }
  if (mode === 'prefer' || mode === 'require') return cert === undefined ? mode : { ...own, rejectUnauthorized: false }
  return {
    ...own,
    ...(ca !== undefined && { ca: read('sslrootcert', ca) }),
    rejectUnauthorized: true,
    checkServerIdentity: (_name, certificate) => (mode === 'verify-ca' ? undefined : identityError(hosts, certificate)),
  }
}

/** The certificate may be for any of the hosts. Node takes an address for `localhost` on a socket that is open already. */
function identityError(hosts: DatabaseServer['hosts'], certificate: PeerCertificate): Error | undefined {
  const errors = hosts.map(({ host }) => checkServerIdentity(host, certificate))
  return errors.includes(undefined) ? undefined : errors[0]
}

function read(name: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new Error(`${name}: the file ${path} cannot be read`, { cause: error })
  }
}
