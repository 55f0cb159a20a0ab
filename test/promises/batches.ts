/** How many calls went to the database together, told by the statements that were sent. */
import type { Sql } from '../../src/db/connect.ts'

export const KINDS = ['insert', 'activate', 'remove', 'settle', 'findRendered', 'findVisible', 'findOwned'] as const
type Kind = (typeof KINDS)[number]

/** By words that only the statement of that kind for many calls has; the first that fits. */
const WORDS: Record<Kind, RegExp> = {
  insert: /INSERT INTO media_objects/,
  activate: /SET status = 'active'/,
  remove: /SET status = 'deleted'/,
  settle: /AS settled/,
  findRendered: /AS outcomes/,
  findVisible: /AS own/,
  findOwned: /user_id = by/,
}

export type Batches = {
  /** Statements for more than one call so far, by kind, with the most calls that one had. */
  counts(): Partial<Record<Kind, { statements: number; largest: number }>>
}

/** The same connection, whose statements for many calls are counted. */
export function watchBatches(sql: Sql): { sql: Sql; batches: Batches } {
  const sizes: { kind: Kind; size: number }[] = []
  const unsafe: Sql['unsafe'] = (text, parameters, options) => {
    const size = text.includes('AS calls (n integer') ? lengthOf(parameters?.[0]) : 0
    const kind = KINDS.find((name) => WORDS[name].test(text))
    if (size > 1 && kind !== undefined) sizes.push({ kind, size })
    return sql.unsafe(text, parameters, options)
  }
  return {
    sql: new Proxy(sql, { get: (target, name) => (name === 'unsafe' ? unsafe : Reflect.get(target, name)) }),
    batches: {
      counts: () =>
        Object.fromEntries(
          [...Map.groupBy(sizes, ({ kind }) => kind)].map(([kind, some]) => [
            kind,
            { statements: some.length, largest: Math.max(...some.map(({ size }) => size)) },
          ]),
        ),
    },
  }
}

/** Of a JSON parameter with an array. */
function lengthOf(parameter: unknown): number {
  const value =
    typeof parameter === 'object' && parameter !== null && 'value' in parameter ? parameter.value : undefined
  return Array.isArray(value) ? value.length : 0
}
