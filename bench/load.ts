/** The load generator of `load/`, a program in Go: this process would take too much of the two cores it may have. */
import { join } from 'node:path'
import { runToEnd, tied } from '../test/support/process/process.ts'
import { built } from './cache.ts'

export type Request = {
  method: string
  /** May hold `{unique}` or `{id}`. */
  url: string
  headers?: Record<string, string>
  /** A file. */
  body?: string
  /** `accessKeyId:secretAccessKey:region`: sign it for S3. */
  account?: string
}

export type Extent = {
  connections: number
  /** No request begins later. */
  seconds: number
  /** No more requests than these. */
  requests?: number
  /** A file of ids, a line each, and whether each is used once only. */
  ids?: string
  once?: boolean
  /** A file to which the ids in the answers are added. */
  idsOut?: string
}

export type Seen = {
  /** Requests that got a 2xx, and all others. */
  ok: number
  bad: number
  /** Of what went wrong last. */
  sample: string
  /** Until the last answer. */
  seconds: number
  /** Milliseconds. */
  p50: number
  p99: number
  /** CPU seconds of the generator itself. */
  ownCpu: number
}

export type Load = (request: Request, extent: Extent) => Promise<Seen>

/** Builds the generator if need be; that takes Go 1.22. */
export async function openLoad(): Promise<Load> {
  if (Bun.which('go') === null) throw new Error('The load generator is built with Go, which is not here')
  const source = join(import.meta.dirname, 'load')
  const folder = await built('the load generator', { source, version: '1' }, (out) =>
    runToEnd(['go', 'build', '-o', join(out, 'load'), '.'], { cwd: source, env: { HOME: process.env.HOME ?? '' } }),
  )
  return async function load({ method, url, headers = {}, body, account }, extent) {
    const { connections, seconds, requests = 0, ids, once = false, idsOut } = extent
    const options = [
      ...['-method', method, '-url', url, '-connections', connections, '-duration', `${seconds}s`],
      ...['-requests', requests],
      ...Object.entries(headers).flatMap(([name, value]) => ['-header', `${name}: ${value}`]),
      ...(body === undefined ? [] : ['-body', body]),
      ...(account === undefined ? [] : ['-sigv4', account]),
      ...(ids === undefined ? [] : ['-ids', ids]),
      ...(once ? ['-once'] : []),
      ...(idsOut === undefined ? [] : ['-ids-out', idsOut]),
    ]
    const child = Bun.spawn(tied([join(folder, 'load'), ...options.map(String)]), { stdio: ['ignore', 'pipe', 'pipe'] })
    const [seen, complaint, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    if (code !== 0) throw new Error(`${method} ${url}: ${complaint}`)
    return JSON.parse(seen)
  }
}
