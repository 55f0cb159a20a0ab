import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { inCi } from '../process/ci.ts'
import { freePort } from '../process/port.ts'
import { repository } from '../repository.ts'
import { triedGateway } from '../tried.ts'
import { type ServiceControl, startNative } from './native.ts'

const CONFIG = join(repository, 'deploy', 'nginx.conf')
// Where Debian's package puts it, which is not on everybody's PATH.
const DEBIAN = '/usr/sbin/nginx'

export function findNginx(): string | null {
  return Bun.which('nginx') ?? (existsSync(DEBIAN) ? DEBIAN : null)
}

/** Whether there is nginx, for `describe.skipIf(!haveNginx())`: without, skipped at home, loudly, and failed in CI. */
export function haveNginx(): boolean {
  if (findNginx() !== null) return true
  const missing = 'There is no nginx: install the Debian package of that name, as `bun test/setup.ts` does.'
  if (inCi()) throw new Error(missing)
  console.error(`\n*** SKIPPING every test that needs nginx. ${missing}\n`)
  return false
}

/**
 * Starts the gateway as deploy/nginx.conf sets it up, in front of these replicas, with its files in `folder`/nginx.
 * @param changes more lines, and what stands there instead
 */
export async function startNginx(
  folder: string,
  replicas: string[],
  changes: [line: string, changed: string][] = [],
): Promise<ServiceControl & { log: string }> {
  const binary = findNginx()
  if (binary === null) throw new Error('nginx is not installed')
  const own = join(folder, 'nginx')
  await mkdir(own)
  const address = `127.0.0.1:${await freePort()}`
  const url = `http://${address}`
  const place = { folder: own, address, replicas, changes }
  await Bun.write(join(own, 'nginx.conf'), placed(await Bun.file(CONFIG).text(), place))
  triedGateway('nginx', [binary, '-v'], replicas)
  const control = await startNative({
    name: 'nginx',
    url,
    command: [
      binary,
      ...['-p', own],
      ...['-c', join(own, 'nginx.conf')],
      ...['-e', 'stderr'],
      ...['-g', `daemon off; pid ${join(own, 'nginx.pid')};`],
    ],
    folder: own,
    stopSignal: 'SIGTERM',
    answers: async () => {
      const response = await fetch(url, { keepalive: false })
      if (response.status !== 404) throw new Error(`nginx answers ${response.status}`)
    },
  })
  return Object.assign(control, { log: join(own, 'access.log') })
}

type Place = { folder: string; address: string; replicas: string[]; changes: [string, string][] }

/** The configuration with its lines under "Place" changed, as it says itself, and nothing else. */
function placed(config: string, { folder, address, replicas, changes }: Place): string {
  const servers = replicas.map((replica) => `server ${new URL(replica).host} max_fails=0;`)
  // Folders that are made though nothing is put there; the compiled-in ones may be root's.
  const unused = ['fastcgi', 'scgi', 'uwsgi'].map((name) => `${name}_temp_path ${folder}/${name};`)
  return [
    ...changes,
    ['access_log            /dev/stdout media;', `access_log ${folder}/access.log media;`],
    ['client_body_temp_path /var/cache/nginx/client_temp;', `client_body_temp_path ${folder}/client;`],
    ['proxy_temp_path       /var/cache/nginx/proxy_temp;', [`proxy_temp_path ${folder}/proxy;`, ...unused].join(' ')],
    ['resolver              127.0.0.11 valid=5s ipv6=off;', ''],
    ['server media:8080 resolve max_fails=0;', servers.join(' ')],
    ['listen 80 default_server;', `listen ${address} default_server;`],
  ].reduce((text, [line = '', changed = '']) => {
    if (text.split(line).length !== 2) throw new Error(`deploy/nginx.conf has not once: ${line}`)
    return text.replace(line, changed)
  }, config)
}
