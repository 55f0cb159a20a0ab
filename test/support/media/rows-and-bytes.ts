import { afterAll, beforeAll, beforeEach } from 'bun:test'
import type { OpenDatabase } from '../services/databases.ts'
import type { OpenStore } from '../services/stores.ts'

/** Opens a database and a store before the tests of a `describe`, and closes them after all. */
export function openRowsAndBytes<Store extends OpenStore>(
  openDatabase: (wanted: { migrated: true }) => Promise<OpenDatabase>,
  openStore: () => Promise<Store>,
) {
  let database: OpenDatabase
  let store: Store
  beforeAll(async () => {
    database = await openDatabase({ migrated: true })
    store = await openStore()
  }, 60_000)
  afterAll(async () => {
    await store?.close()
    await database?.close()
  }, 30_000)
  return {
    get database() {
      return database
    },
    get store() {
      return store
    },
  }
}

/** The same, both empty before each test. */
export function openEmptied<Store extends OpenStore>(...how: Parameters<typeof openRowsAndBytes<Store>>) {
  const on = openRowsAndBytes(...how)
  beforeEach(async () => {
    await on.database.sql`DELETE FROM media_objects`
    for (const home of ['media/', 'public/']) await on.store.storage.removePrefix(home)
  })
  return on
}
