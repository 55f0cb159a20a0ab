/** The service with its console, and a wire between the browser and what the bytes go to that can be cut. */
import { newUser, tokenFor } from '../acceptance/client.ts'
import { MiB } from '../acceptance/parts.ts'
import { startService } from '../acceptance/service.ts'
import { createDataDir, expectNoFailures, openStage } from '../acceptance/stage.ts'
import { startProxy, type TcpProxy } from '../proxy.ts'
import { services } from '../services/shared.ts'

export type ConsoleStage = {
  /** Where the browser opens the page. */
  address: string
  /** What a visitor has to paste; absent: they are signed in. */
  token: string | undefined
  wire: TcpProxy
  /** Bytes that a cut may cost. */
  lostAtMost: number
  close: () => Promise<void>
}

/** As the one command starts it: uploads go through the service. */
export async function openEmbedded(): Promise<ConsoleStage> {
  const dataDir = await createDataDir()
  const service = await startService({ runtime: 'bun', env: { DATA_DIR: dataDir.path } })
  const wire = await startProxy(service.baseUrl)
  return {
    address: wire.url,
    token: undefined,
    wire,
    // What was on its way through the service when it was cut.
    lostAtMost: 24 * MiB,
    async close() {
      await wire.close()
      await service.stop()
      await dataDir.remove()
      expectNoFailures(service)
    },
  }
}

/** Uploads go to the store. */
export async function openReal(): Promise<ConsoleStage> {
  const wire = await startProxy((await services()).s3.endpoint)
  const stage = await openStage({ S3_PUBLIC_ENDPOINT: wire.url, CONSOLE: 'true' })
  return {
    address: stage.baseUrl,
    token: await tokenFor(newUser()),
    wire,
    lostAtMost: 8 * MiB,
    async close() {
      await wire.close()
      await stage.close()
    },
  }
}
