/**
 * What 100,000 pending uploads without bytes cost upkeep: `bun bench/idle-uploads.ts`, with real services where there are
 * any. Looks at some of them for the CPU time of one look, and follows one through its life for how many there are.
 */
import process from 'node:process'
import { createRepository } from '../src/media/table/repository.ts'
import { domainOn } from '../test/support/media/domain.ts'
import { newObject } from '../test/support/media/objects.ts'
import { databases } from '../test/support/services/databases.ts'
import { stores } from '../test/support/services/stores.ts'

const PENDING_SECONDS = 86_400
const AUTO_COMPLETE_SECONDS = 60
const UPLOADS = 100_000
const LOOKED_AT = 5000

const store = await stores.find(({ present }) => present)?.open()
const database = await databases.find(({ present }) => present)?.open({ migrated: true })
if (store === undefined || database === undefined) throw new Error('no services')
const { sql } = database
const times = { pendingSeconds: PENDING_SECONDS, retentionSeconds: PENDING_SECONDS }
const repository = createRepository({ sql, ...times })
const settings = { pendingSeconds: PENDING_SECONDS, autoCompleteSeconds: AUTO_COMPLETE_SECONDS }
const { upkeep } = domainOn({ repository, storage: store.storage }, settings)
const insert = () => repository.uploads.insert(newObject({ completeInSeconds: AUTO_COMPLETE_SECONDS }))

await insert()
let looks = 0
for (;;) {
  const [row] = await sql<{ due: number | null }[]>`
    SELECT extract(epoch FROM complete_due_at - now())::float8 AS due FROM media_objects`
  if (typeof row?.due !== 'number') break
  const passed = sql`${row.due + 0.01} * interval '1 second'`
  await sql`UPDATE media_objects SET complete_due_at = complete_due_at - ${passed}, links_until = links_until - ${passed},
    status_changed_at = status_changed_at - ${passed}`
  await upkeep.run()
  looks += 1
}
await sql`DELETE FROM media_objects`

for (let i = 0; i < LOOKED_AT; i += 100) await Promise.all(Array.from({ length: 100 }, insert))
await upkeep.run()
const before = process.cpuUsage()
await sql`UPDATE media_objects SET complete_due_at = now()`
await upkeep.run()
const { user, system } = process.cpuUsage(before)
const look = (user + system) / LOOKED_AT
const share = (looks * UPLOADS * look) / 1e6 / PENDING_SECONDS
console.log(
  `one look: ${look.toFixed(0)} µs of CPU; ${looks} looks in ${PENDING_SECONDS} s; ` +
    `${UPLOADS} uploads: ${(share * 100).toFixed(2)} % of a core`,
)
await store.close()
await database.close()
