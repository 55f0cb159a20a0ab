import { type Client, newUser, type Presigned, tokenFor } from '../support/http/client.ts'
import type { Known } from './requests.ts'

/** A caller with an object in each state that can be named, and links to two of them. */
export async function createKnown(client: Client): Promise<Known & { user: string }> {
  const user = newUser()
  const [active, deleted] = [await client.uploaded(user), await client.uploaded(user)]
  await client.remove(user, deleted.id)
  const pending: Presigned = await client.presigned(user)
  const { signedUrl }: { signedUrl: string } = await (await client.get(user, active.id)).json()
  const links = [signedUrl, pending.uploadUrl].map((link) => link.slice(new URL(link).origin.length))
  const token = await tokenFor(user, { exp: Math.floor(Date.now() / 1000) + 86_400 })
  return { user, token, ids: [active.id, deleted.id, pending.id], links }
}
