/** `bun run user:id NAME`: prints the id that a user has here whom the identity provider calls NAME (USER_ID_NAMESPACE). */
import process from 'node:process'
import { createUserIds } from '../auth/user-id.ts'
import { ConfigError, readUserIdNamespace } from '../config/config.ts'

const [name, ...more] = process.argv.slice(2)
try {
  if (name === undefined || more.length > 0) throw new ConfigError(['expected one name: bun run user:id "auth0|…"'])
  const userId = createUserIds(readUserIdNamespace()).ofSubject(name)
  if (userId === null)
    throw new ConfigError(['USER_ID_NAMESPACE: expected, as this name is not a UUID; or the name is too long'])
  console.log(userId)
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  console.error(error.message)
  process.exitCode = 1
}
