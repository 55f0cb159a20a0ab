import { createClient } from '../support/http/client.ts'
import { expectNoFailures, openStage, runtime } from '../support/process/acceptance.ts'
import { startService } from '../support/process/service.ts'
import { createFolder } from '../support/services/folder.ts'
import { fuzz } from './fuzz.ts'
import { anyRequest, linkRequest } from './requests.ts'
import { createKnown } from './targets.ts'

type Run = { seconds: number; seed: number }

/** A service on a real store, and one that keeps its files on disk and serves its own links to them. */
export async function openFuzzStage() {
  const stage = await openStage({ RATE_LIMIT_PER_MINUTE: '0' })
  const folder = await createFolder()
  const { DATABASE_URL = '', AUTH_JWT_SECRET = '' } = stage.env
  const env = { DATABASE_URL, AUTH_JWT_SECRET, DATA_DIR: folder.path, RATE_LIMIT_PER_MINUTE: '0' }
  const onDisk = await startService({ runtime, env })

  return {
    /** @throws Error when an answer is not sound, or something is kept that was refused */
    async fuzzRoutes(run: Run): Promise<Record<string, number>> {
      const known = await createKnown(stage)
      const counts = await fuzz(stage.service, anyRequest(known), run)
      const { rows, keys } = await stored(known.user)
      const kept = rows.filter(({ status }) => status !== 'purging').map((row) => row.storage_key)
      const strays = keys.filter((key) => !kept.includes(key))
      if (strays.length > 0) throw new Error(`no row knows of ${strays.join(', ')}`)
      const lost = rows.filter((row) => row.status === 'active' && !keys.includes(row.storage_key))
      if (lost.length > 0) throw new Error(`there are no bytes for ${lost.map(({ id }) => id).join(', ')}`)
      return counts
    },

    /** @throws Error when an answer is not sound */
    async fuzzLinks(run: Run): Promise<Record<string, number>> {
      const counts = await fuzz(onDisk, linkRequest(await createKnown(createClient(onDisk.baseUrl))), run)
      expectNoFailures(onDisk)
      return counts
    },

    async close() {
      await onDisk.stop()
      await folder.remove()
      await stage.close()
    },
  }

  async function stored(user: string) {
    if (stage.inside === undefined) throw new Error('the fuzzer needs real services to look into')
    const { rowsOf, keys } = stage.inside
    // One listing shows 1,000 keys, so each row's own prefix is asked for once there may be more.
    const rows = await rowsOf(user)
    const listed = await keys()
    if (listed.length < 1000) return { rows, keys: listed }
    return { rows, keys: (await Promise.all(rows.map(({ storage_key }) => keys(storage_key)))).flat() }
  }
}
