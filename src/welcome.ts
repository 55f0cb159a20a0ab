/** What someone who has just started the service for the first time needs: lines that work as pasted. */
import { join } from 'node:path'

const PICTURE = join(import.meta.dirname, '../test/corpus/accept/rocket.jpg')

export function welcome({ address, token }: { address: string; token: string }): string {
  const auth = `-H 'Authorization: Bearer ${token}'`
  return `
The media service is at ${address}, on its embedded default: Postgres, files and events in this process.

A development token (30 days):
  ${token}

Upload a picture:
  curl ${auth} -F 'file=@${PICTURE}' ${address}/media/upload

List yours, each with a link to look at:
  curl ${auth} ${address}/media

Every setting: bun run config
`
}
