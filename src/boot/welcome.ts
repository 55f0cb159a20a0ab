/** What someone who has just started the service for the first time needs: lines that work as pasted. */
import { join } from 'node:path'

const PICTURE = join(import.meta.dirname, '../../test/corpus/accept/rocket.jpg')

type Welcome = { address: string; token: string; hasConsole: boolean }

export function welcome({ address, token, hasConsole }: Welcome): string {
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
