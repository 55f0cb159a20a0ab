/** What the settings say about where Redis is. */

export type RedisTarget = {
  /** `redis://` or `rediss://`. With Sentinels, its host is the name under which they know the master. */
  url: string
  sentinels?: Sentinels | undefined
  /** Whether it is a cluster; undefined while no server has said so. */
  cluster?: boolean | undefined
}

export type Sentinels = {
  hosts: { host: string; port: number }[]
  username: string | undefined
  password: string | undefined
  tls: boolean
}

const SENTINEL_PORT = 26379

/**
 * Reads a list of `[redis[s]://][user:password@]host[:port]`; the first login found is that of all Sentinels.
 * @throws Error that says what was expected
 */
export function parseSentinels(text: string): Sentinels {
  const urls = text.split(',').map((item) => {
    const given = item.trim()
    const whole = /^rediss?:\/\//.test(given) ? given : `redis://${given}`
    if (!URL.canParse(whole) || new URL(whole).hostname === '')
      throw new Error('expected host:port of each Sentinel, comma-separated')
    return new URL(whole)
  })
  const login = urls.find(({ password }) => password !== '')
  return {
    hosts: urls.map(({ hostname, port }) => ({ host: bare(hostname), port: Number(port || SENTINEL_PORT) })),
    username: decodeURIComponent(login?.username ?? '') || undefined,
    password: decodeURIComponent(login?.password ?? '') || undefined,
    tls: urls.some(({ protocol }) => protocol === 'rediss:'),
  }
}

/** An IPv6 address without the brackets that it has in a URL. */
export function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '')
}
