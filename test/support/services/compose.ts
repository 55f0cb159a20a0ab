import { join } from 'node:path'
import { freePort } from '../process/port.ts'
import { runToEnd } from '../process/process.ts'
import { atEnd } from './folder.ts'
import { minioAccount, minioAnswers } from './minio.ts'
import { type ServiceControl, untilAnswers } from './native.ts'
import { POSTGRES_PASSWORD, postgresAnswers, postgresUrl } from './postgres.ts'
import { REDIS_PASSWORD, redisAnswers, redisUrl } from './redis.ts'

export type ComposeServices = {
  postgres: ServiceControl
  redis: ServiceControl
  minio: ServiceControl
  /** Removes the containers and their data. */
  remove(): Promise<void>
}

/** Starts the services of compose.yml as a project of their own, so that several runs do not meet. */
export async function startCompose(): Promise<ComposeServices> {
  const [postgresPort, redisPort, minioPort] = await Promise.all([freePort(), freePort(), freePort()])
  // Chosen here and not left to Docker, which would choose anew at every restart of a container.
  const env = {
    ...dockerSettings(),
    POSTGRES_PORT: String(postgresPort),
    REDIS_PORT: String(redisPort),
    MINIO_PORT: String(minioPort),
    POSTGRES_PASSWORD,
    REDIS_PASSWORD,
    MINIO_ROOT_USER: minioAccount.accessKeyId,
    MINIO_ROOT_PASSWORD: minioAccount.secretAccessKey,
    MINIO_REGION: minioAccount.region,
  }
  const project = `media-service-test-${crypto.randomUUID().slice(0, 8)}`
  const compose = ['docker', 'compose', '--project-name', project, '--file', join(import.meta.dir, 'compose.yml')]
  // Unpaused first (a complaint that nothing is paused goes unheard): a paused container does not stop.
  const remove = atEnd('"$@" unpause; exec "$@" down --volumes --timeout 0', compose, env)
  const act = (...args: string[]) => runToEnd([...compose, ...args], { env })
  const databaseUrl = postgresUrl(postgresPort)
  const eventsUrl = redisUrl(redisPort)
  const minioUrl = `http://127.0.0.1:${minioPort}`
  const services = {
    postgres: control('postgres', databaseUrl, () => postgresAnswers(databaseUrl), act),
    redis: control('redis', eventsUrl, () => redisAnswers(eventsUrl), act),
    minio: control('minio', minioUrl, () => minioAnswers(minioUrl), act),
  }
  try {
    await act('up', '--detach', '--quiet-pull')
    await Promise.all([services.postgres.start(), services.redis.start(), services.minio.start()])
  } catch (error) {
    await remove()
    throw error
  }
  return { ...services, remove }
}

/** Whether an engine answers and knows `compose`; the command line alone says nothing about the engine. */
export function composeAnswers(): boolean {
  if (!Bun.which('docker')) return false
  const ask = (...args: string[]) => Bun.spawnSync(['docker', ...args], { timeout: 10_000 }).exitCode === 0
  return ask('info') && ask('compose', 'version')
}

function control(
  name: string,
  url: string,
  answers: () => Promise<void>,
  act: (...args: string[]) => Promise<void>,
): ServiceControl {
  return {
    url,
    pid: undefined,
    async start() {
      await act('start', name)
      await untilAnswers(answers, 60_000)
    },
    stop: () => act('stop', name),
    kill: () => act('kill', '--signal', 'SIGKILL', name),
    pause: () => act('pause', name),
    resume: () => act('unpause', name),
  }
}

/** What the docker command line needs of the tester's environment: which engine, and its configuration in HOME. */
function dockerSettings(): Record<string, string> {
  const names = Object.keys(process.env).filter((name) => /^(PATH|HOME|DOCKER_.*|XDG_RUNTIME_DIR)$/.test(name))
  return Object.fromEntries(names.map((name) => [name, process.env[name] ?? '']))
}
