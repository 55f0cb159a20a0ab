/** The service with its console, and a wire between the browser and what the bytes go to that can be cut. */
import { answered, newUser, tokenFor } from '../http/client.ts'
import { createDataDir, expectNoFailures, openStage } from '../process/acceptance.ts'
import { startProxy, type TcpProxy } from '../process/proxy.ts'
import { startService } from '../process/service.ts'
import { services } from '../services/shared.ts'

export type ConsoleStage = {
  /** Where the browser opens the page. */
  address: string
  /** What a visitor has to paste; absent: they are signed in. */
  token: string | undefined
  /** Makes a picture of the visitor's, past the page. */
  upload: (name: string, bytes: Uint8Array<ArrayBuffer>) => Promise<unknown>
  wire: TcpProxy
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
    upload: uploaderWith(await sessionToken(service.baseUrl), service.baseUrl),
    wire,
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
  const token = await tokenFor(newUser())
  const stage = await openStage({ S3_PUBLIC_ENDPOINT: wire.url, CONSOLE: 'true' })
  return {
    address: stage.baseUrl,
    token,
    upload: uploaderWith(token, stage.baseUrl),
    wire,
    async close() {
      await wire.close()
      await stage.close()
    },
  }
}

/** The one that the page is given. */
async function sessionToken(baseUrl: string): Promise<string> {
  const session = await fetch(`${baseUrl}/console/session`, { method: 'POST', headers: { origin: baseUrl } })
  return (await session.json()).token
}

function uploaderWith(token: string, baseUrl: string): ConsoleStage['upload'] {
  return async (name, bytes) => {
    const headers = { authorization: `Bearer ${token}` }
    const body = new FormData()
    body.set('file', new File([bytes], name))
    await answered(201, await fetch(`${baseUrl}/media/upload`, { method: 'POST', body, headers }))
  }
}
