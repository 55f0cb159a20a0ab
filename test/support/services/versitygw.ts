import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { findGoProgram } from '../process/go.ts'
import { freePort } from '../process/port.ts'
import { triedGoProgram } from '../tried.ts'
import { minioAccount } from './minio.ts'
import { type ServiceControl, startNative } from './native.ts'

export function findVersitygw(): string | undefined {
  return findGoProgram('versitygw')
}

/** Starts versitygw with its data in `folder`/versitygw, with the account of the tests' MinIO. */
export async function startVersitygw(folder: string): Promise<ServiceControl> {
  const own = join(folder, 'versitygw')
  await mkdir(join(own, 'data'), { recursive: true })
  const address = `127.0.0.1:${await freePort()}`
  const url = `http://${address}`
  triedGoProgram('store', 'versitygw', 'versitygw')
  return startNative({
    name: 'versitygw',
    url,
    command: [findVersitygw() ?? 'versitygw', '--port', address, '--quiet', 'posix', join(own, 'data')],
    env: { HOME: own, ROOT_ACCESS_KEY: minioAccount.accessKeyId, ROOT_SECRET_KEY: minioAccount.secretAccessKey },
    folder: own,
    stopSignal: 'SIGTERM',
    answers: async () => {
      await fetch(url, { signal: AbortSignal.timeout(2_000), keepalive: false })
    },
  })
}
