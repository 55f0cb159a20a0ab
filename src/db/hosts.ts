/** Finds the primary among several hosts, and opens connections to it. */
import { Socket } from 'node:net'
import postgres from 'postgres'
import { inTime } from '../deadline.ts'
import type { DatabaseServer } from './url.ts'

type Host = DatabaseServer['hosts'][number]

const PATIENCE_MS = 2000

export type Hosts = {
  /** Opens a connection to the primary: postgres.js' option `socket`. */
  socket(): Promise<Socket>
  /** Looks for the primary again before the next connection. */
  forget(): void
}

/**
 * postgres.js (3.4.9) has `target_session_attrs` of its own, but while no host can be reached it tries all of them
 * without a pause and without an end, and each of its connections tries the wrong hosts again.
 * @param options those that open one connection to one host
 */
export function createHosts(hosts: readonly Host[], options: postgres.Options<Record<string, never>>): Hosts {
  let known: Promise<Host | undefined> | undefined

  async function find(): Promise<Host | undefined> {
    const tries = hosts.map(async (host) => {
      if (!(await isPrimary(host, options))) throw new Error('not a primary')
      return host
    })
    const found = await Promise.any(tries).catch(() => undefined)
    if (found === undefined) known = undefined
    return found
  }

  return {
    async socket() {
      known ??= find()
      const finding = known
      const [first] = hosts
      // Without a primary, the attempt fails as with a single host, or ends at one that takes no changes.
      const { host, port } = (await finding) ?? first ?? { host: 'localhost', port: 5432 }
      const socket = new Socket()
      socket.once('error', () => {
        if (known === finding) known = undefined
      })
      // By this, postgres.js knows for which name the certificate has to be.
      return Object.assign(socket.connect(port, host), { host })
    },

    forget() {
      known = undefined
    },
  }
}

async function isPrimary({ host, port }: Host, options: postgres.Options<Record<string, never>>): Promise<boolean> {
  const sql = postgres({ ...options, host, port, max: 1 })
  try {
    const query = sql<{ writable: boolean }[]>`
      SELECT NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off' AS writable`
    const [row] = await inTime(query, PATIENCE_MS, () => [])
    return row?.writable === true
  } finally {
    void sql.end({ timeout: 1 })
  }
}
