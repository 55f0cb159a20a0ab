import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { findGoProgram } from '../process/go.ts'
import { freePort } from '../process/port.ts'
import { triedGoProgram } from '../tried.ts'
import { type ServiceControl, startNative } from './native.ts'

/** What every MinIO of the tests is started with. */
export const minioAccount = {
  region: 'us-east-1',
  accessKeyId: 'test-access-key',
  secretAccessKey: 'test-secret-access-key',
}

/** Starts MinIO with its data in `folder`/minio. */
export async function startMinio(folder: string): Promise<ServiceControl> {
  const binary = findMinio()
  if (!binary) throw new Error('MinIO is not installed')
  const own = join(folder, 'minio')
  await mkdir(join(own, 'certs'), { recursive: true })
  const address = `127.0.0.1:${await freePort()}`
  const url = `http://${address}`
  triedGoProgram('store', 'MinIO', 'minio')
  return startNative({
    name: 'MinIO',
    url,
    command: [binary, 'server', join(own, 'data'), '--address', address, '--certs-dir', join(own, 'certs'), '--quiet'],
    env: {
      HOME: own,
      MINIO_ROOT_USER: minioAccount.accessKeyId,
      MINIO_ROOT_PASSWORD: minioAccount.secretAccessKey,
      MINIO_REGION: minioAccount.region,
      MINIO_BROWSER: 'off',
      MINIO_UPDATE: 'off',
    },
    folder: own,
    stopSignal: 'SIGTERM',
    answers: () => minioAnswers(url),
  })
}

/** Rejects until MinIO is ready: it says 200 with "offline" as long as its drives are not. */
export async function minioAnswers(url: string): Promise<void> {
  const response = await fetch(`${url}/minio/health/live`, { signal: AbortSignal.timeout(2_000), keepalive: false })
  const status = response.headers.get('x-minio-server-status')
  if (!response.ok || status === 'offline') throw new Error(`MinIO answers ${response.status} ${status ?? ''}`)
}

export function findMinio(): string | undefined {
  return findGoProgram('minio')
}
