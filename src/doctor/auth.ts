/** Fetches the public keys of the identity provider, as the start does. */
import { fetchKeySet, WrongAddress } from '../auth/key-set.ts'
import { keySourceOf, wrongAddress } from '../boot/authenticate.ts'
import type { Config } from '../config/config.ts'
import { deadline } from '../deadline.ts'
import { type Finding, findingsAbout } from '../finding.ts'
import { type Examined, findingsOf } from './set-up.ts'

const FETCH_MS = 5000

/** Undefined when the settings name no keys. */
export async function examineKeys(auth: Config['auth']): Promise<Examined | undefined> {
  const source = keySourceOf(auth)
  if (source === undefined) return undefined
  const { setting, address } = source
  const findings = await findingsOf(async (): Promise<Finding[]> => {
    try {
      const keys = await fetchKeySet(address, { signal: deadline(FETCH_MS) })
      return keys.length > 0 ? [] : [wrong(setting, 'the key set is empty', 'publish the keys that sign the tokens')]
    } catch (error) {
      if (error instanceof WrongAddress) throw wrongAddress(setting, error)
      const why = error instanceof Error ? error.message : String(error)
      return [
        unknown(setting, `the keys are not reachable from here (${why})`, 'look at it from where the service runs'),
      ]
    }
  })
  return { name: 'identity provider', findings }
}

const { wrong, unknown } = findingsAbout('auth')
