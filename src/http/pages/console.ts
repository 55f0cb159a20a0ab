/** `/console`, a page to upload, view and manage the caller's own files; it loads nothing from other hosts. */
import { readFile } from 'node:fs/promises'
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import ipaddr from 'ipaddr.js'
import type { ConsoleSession } from '../../console/session.ts'
import { Problem } from '../../problem.ts'
import type { Storage } from '../../storage/storage.ts'
import { type Identify, peerOf } from '../request/identify.ts'
import { type Asset, createAssets } from './assets.ts'

export type ConsoleDeps = {
  storage: Pick<Storage, 'name' | 'signGet' | 'multipart'>
  /** Makes the token that signs in a visitor from this machine; absent: no automatic sign-in. */
  developmentToken: (() => Promise<string>) | undefined
  /** The public origins of the service and of the CDN, where configured. */
  publicBaseUrl: string | undefined
  cdnBaseUrl: string | undefined
  allowedTypes: ReadonlySet<string>
  maxObjectBytes: number
  retentionSeconds: number
}

/** The page as built by `src/console/build.ts`. */
const BUILT = new URL('../../console/dist/', import.meta.url)

const built = (name: Asset['name']): Asset => ({ name, read: () => readBuilt(new URL(name, BUILT)) })
const page = built('index.html')
const assets = [built('page.js'), built('page.css'), built('icon.svg')]

export function consoleRoutes(app: OpenAPIHono, deps: ConsoleDeps & { identify: Identify }): void {
  let serving: Promise<ReturnType<typeof createAssets>> | undefined
  const serve = async (c: Context, asset: Asset) => {
    serving ??= headersOf(deps).then(createAssets)
    serving.catch(() => {
      serving = undefined
    })
    return (await serving)(c.req.raw, asset)
  }
  app.get('/console', (c) => serve(c, page))
  app.get('/console/:file', (c) => {
    const asset = assets.find(({ name }) => name === c.req.param('file'))
    if (asset === undefined) throw new Problem('not_found', 'The console has no file of this name.')
    return serve(c, asset)
  })
  app.post('/console/session', async (c) => {
    const { developmentToken, allowedTypes, maxObjectBytes, retentionSeconds } = deps
    c.header('cache-control', 'no-store')
    const session: ConsoleSession = {
      token: developmentToken !== undefined && isFromThisMachine(c) ? await developmentToken() : null,
      known: (await deps.identify(c)) !== null,
      uploads: takesPartsOfUppy(deps.storage) ? 's3' : 'tus',
      allowedTypes: [...allowedTypes],
      maxObjectBytes,
      retentionSeconds,
    }
    return c.json(session)
  })
}

/** Uppy names no MD5 of its parts; the service does so for the parts of a tus upload. */
function takesPartsOfUppy({ name, multipart }: ConsoleDeps['storage']): boolean {
  return name === 's3' && multipart?.needsMd5 !== true
}

async function readBuilt(file: URL): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await readFile(file)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    throw new Problem('not_found', 'The console is not built; `bun run build:console` builds it.')
  }
}

/**
 * Whether a page of this service sent the request, opened under a loopback name, from a browser on this machine. A name
 * that an attacker resolves to this machine (DNS rebinding), a page of another origin and a proxy under a name of its
 * own all show in `Host`, or in `Origin`, which every POST has. Programs on other machines can forge headers, but not
 * the peer address.
 */
function isFromThisMachine(c: Context): boolean {
  const { origin, hostname } = new URL(c.req.url)
  const peer = peerOf(c)
  return (
    ['localhost', '127.0.0.1', '[::1]'].includes(hostname) &&
    c.req.header('origin') === origin &&
    [undefined, 'same-origin'].includes(c.req.header('sec-fetch-site')) &&
    !FORWARDED.some((name) => c.req.header(name) !== undefined) &&
    ipaddr.isValid(peer) &&
    ipaddr.process(peer).range() === 'loopback'
  )
}

const FORWARDED = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip']

async function headersOf({ storage, publicBaseUrl, cdnBaseUrl }: ConsoleDeps): Promise<Record<string, string>> {
  const origins = [await linkOf(storage), publicBaseUrl, cdnBaseUrl].flatMap((url) =>
    url !== undefined && URL.canParse(url) ? [new URL(url).origin] : [],
  )
  const from = ["'self'", ...new Set(origins)].join(' ')
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    `img-src ${from} blob: data:`,
    `media-src ${from} blob:`,
    `connect-src ${from}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ]
  return {
    'content-security-policy': policy.join('; '),
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'permissions-policy': 'camera=(self), microphone=(), geolocation=()',
  }
}

/**
 * Signs any link to find the origin at which browsers reach the store; a bare path means that the service is the store.
 */
function linkOf(storage: ConsoleDeps['storage']): Promise<string> {
  const presentation = { contentType: 'image/png', disposition: 'inline', cacheControl: 'private' }
  return storage.signGet('media/console', { from: new Date(), expiresIn: 1, ...presentation })
}
