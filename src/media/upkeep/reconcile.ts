/**
 * Reconcile: compares the whole store with the whole table, after a restore from backup or to be sure. Both come in the
 * byte order of their keys and are merged, so that neither is ever held in memory.
 */
import type { Storage } from '../../storage/storage.ts'
import { idOf, madeAtOf } from '../object/object.ts'
import type { KeyRow, RenderedRow } from '../table/keys.ts'
import type { Repository } from '../table/repository.ts'

export type Finding =
  /** An orphan: stored bytes that no row knows. */
  | { kind: 'bytes_without_row'; key: string; size: number }
  /** Bytes under an object's prefixes that its row does not know, while no more can arrive. */
  | { kind: 'stray_bytes'; id: string; key: string; size: number }
  /** A row that promises stored bytes, which are missing. */
  | { kind: 'row_without_bytes'; id: string; key: string }
  /** A row whose public copy is missing. */
  | { kind: 'copy_without_bytes'; id: string; key: string }
  /** Row and bytes exist, but their sizes differ. */
  | { kind: 'size_differs'; id: string; key: string; size: number; expected: number }
  /** A rendition on a picture's row whose bytes are missing, or of another size. */
  | { kind: 'rendition_lost'; id: string; key: string }
  /** A key that this service does not make: reported, never touched. */
  | { kind: 'foreign'; key: string }

/** Counts of what has been compared. */
export type Progress = { objects: number; rows: number }

type Deps = {
  repository: Pick<Repository, 'keys' | 'publicCopies' | 'purging' | 'renditions' | 'sweeps'>
  storage: Storage
}

const PAGE = 1000

/** Yields each finding after a second look, so that work in progress is not reported. */
export async function* reconcile(deps: Deps, progress: Progress = { objects: 0, rows: 0 }): AsyncGenerator<Finding> {
  const objects = pages((startAfter) => deps.storage.list({ prefix: '', startAfter, limit: PAGE }))
  const rows = withRenditions(pages((startAfter) => deps.repository.keys.after(startAfter, PAGE)))
  let object = await objects.next()
  let row = await rows.next()
  while (!object.done || !row.done) {
    const order = object.done
      ? 1
      : row.done
        ? -1
        : Buffer.compare(Buffer.from(object.value.key), Buffer.from(row.value.key))
    if (order <= 0) progress.objects += 1
    if (order >= 0) progress.rows += 1
    if (order < 0 && !object.done) yield* unknown(object.value, deps)
    if (order > 0 && !row.done) yield* suspicious(row.value, null, deps)
    if (order === 0 && !object.done && !row.done) yield* suspicious(row.value, object.value.size, deps)
    if (order <= 0) object = await objects.next()
    if (order >= 0) row = await rows.next()
  }
}

/**
 * Repairs a finding: removes bytes without a row, purges rows whose bytes are missing, drops lost copies and
 * renditions.
 */
export async function repair(
  finding: Finding,
  { repository, storage }: Pick<Deps, 'repository' | 'storage'>,
): Promise<void> {
  if (finding.kind === 'bytes_without_row') await storage.remove([finding.key])
  // Looks again: a copy may have become the object's own since.
  if (finding.kind === 'stray_bytes' && (await isStray(finding, repository))) await storage.remove([finding.key])
  if (finding.kind === 'row_without_bytes' || finding.kind === 'size_differs')
    await repository.purging.giveUp(finding.id, finding.key)
  if (finding.kind === 'rendition_lost') await repository.renditions.drop(finding.id, finding.key)
  if (finding.kind === 'copy_without_bytes') await repository.publicCopies.clear(finding.id, finding.key)
}

/**
 * Yields a finding for bytes that no row names. A young id may still get its row; its age is by the database's clock.
 */
async function* unknown({ key, size }: { key: string; size: number }, { repository }: Deps): AsyncGenerator<Finding> {
  const id = idOf(key)
  if (id === undefined) return yield { kind: 'foreign', key }
  if (madeAtOf(id) >= (await repository.keys.oldBefore())) return
  if ((await repository.keys.idsWithRow([id])).size === 0) yield { kind: 'bytes_without_row', key, size }
  else if (await isStray({ id, key }, repository)) yield { kind: 'stray_bytes', id, key, size }
}

async function isStray(
  { id, key }: { id: string; key: string },
  repository: Pick<Repository, 'sweeps'>,
): Promise<boolean> {
  const own = await repository.sweeps.ownKeys(id)
  return own !== null && !own.includes(key)
}

async function* missingCopy(
  { id, key }: KeyRow,
  listed: number | null,
  { repository, storage }: Pick<Deps, 'repository' | 'storage'>,
): AsyncGenerator<Finding> {
  if (listed !== null || (await storage.head(key)) !== null) return
  if (await repository.publicCopies.isCurrent(id, key)) yield { kind: 'copy_without_bytes', id, key }
}

/**
 * Yields a finding for a row whose bytes differ. A row that was settled before its bytes were looked at, and still is
 * afterwards, was not in progress.
 */
async function* suspicious(row: KeyRow, listed: number | null, { repository, storage }: Deps): AsyncGenerator<Finding> {
  const { id, key, kind, sizeBytes: expected } = row
  if (kind === 'copy') return yield* missingCopy(row, listed, { repository, storage })
  if (!row.settled || listed === expected) return
  const stored = await storage.head(key)
  if (expected === null || !(await repository.keys.isSettled(id))) return
  if (kind === 'rendition') {
    const known = stored?.size === expected || !(await repository.keys.known([key])).has(key)
    if (!known) yield { kind: 'rendition_lost', id, key }
    return
  }
  if (stored === null) yield { kind: 'row_without_bytes', id, key }
  else if (stored.size !== expected) yield { kind: 'size_differs', id, key, size: stored.size, expected }
}

/** Rows and their renditions, all in the byte order of their keys. */
async function* withRenditions(rows: AsyncIterable<RenderedRow>): AsyncGenerator<KeyRow, void> {
  // The rows of one object: its renditions may sort before its public copy, which is a row of its own here.
  const group: KeyRow[] = []
  for await (const { renditions, ...row } of rows) {
    if (group[0] !== undefined && prefixIn(group[0]) !== prefixIn(row)) yield* inOrder(group.splice(0))
    const made = Object.values(renditions).map((entry) => ({
      ...row,
      kind: 'rendition' as const,
      key: entry.key,
      ...('sizeBytes' in entry ? { sizeBytes: entry.sizeBytes } : { sizeBytes: null, settled: false }),
    }))
    group.push(row, ...made)
  }
  yield* inOrder(group)
}

function prefixIn({ key }: KeyRow): string {
  return key.split('/', 2).join('/')
}

function inOrder(rows: KeyRow[]): KeyRow[] {
  return rows.sort((a, b) => (a.key < b.key ? -1 : 1))
}

/** One stream of all pages, each of which begins after the last key of the page before. */
async function* pages<T extends { key: string }>(page: (startAfter: string) => Promise<T[]>): AsyncGenerator<T, void> {
  for (let startAfter = ''; ; ) {
    const items = await page(startAfter)
    yield* items
    const last = items.at(-1)
    if (last === undefined || items.length < PAGE) return
    startAfter = last.key
  }
}
