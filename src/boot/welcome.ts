/** The greeting of the embedded default: commands to paste for a first upload. */
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import type { Server } from './server.ts'

const PICTURE = join(import.meta.dirname, '../../test/corpus/accept/rocket.jpg')

type Welcome = { address: string; token: string; hasConsole: boolean }

/** Prints nothing when authentication is configured. */
export async function greet(
  { http, listen }: Config,
  { developmentToken, hasConsole }: Pick<Server, 'developmentToken' | 'hasConsole'>,
): Promise<void> {
  if (developmentToken === undefined) return
  const address = http.publicBaseUrl ?? `http://${listen.host}:${listen.port}`
  console.log(welcome({ address, token: await developmentToken(), hasConsole }))
}

function welcome({ address, token, hasConsole }: Welcome): string {
  const auth = `-H 'Authorization: Bearer ${token}'`
  return `
The media service is at ${address}, on its embedded default: Postgres, files and events in this process.
${hasConsole ? `\nOpen ${address}/console in a browser, and drop pictures there.\n` : ''}
A development token (30 days):
  ${token}

Upload a picture:
  curl ${auth} -F 'file=@${PICTURE}' ${address}/media/upload

List yours, each with a link to look at:
  curl ${auth} ${address}/media

Every setting: bun run config
`
}
