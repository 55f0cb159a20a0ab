/** The backoff between tries of decoding a picture and making its public copy: one policy for all tasks. */
import type { Fragment, Queryable } from '../../db/connect.ts'

/** The pause after a try that found no free decoder; one is free again by then. */
export const SOON_SECONDS = 60

const RETRY_SECONDS = 600
const RETRY_FACTOR = 4
const LONGEST_RETRY_SECONDS = 86_400

/** The pause after `tries` tries: ten minutes, forty, and so on, a day at most. `tries` is an SQL expression. */
export function backoff(sql: Queryable, tries: Fragment) {
  return pauseAfter(sql, tries, RETRY_SECONDS)
}

/** The same with another first pause, in seconds; each further one is four times as long. */
export function pauseAfter(sql: Queryable, tries: Fragment, firstSeconds: number) {
  return sql`least(${LONGEST_RETRY_SECONDS}::float8,
    ${firstSeconds}::float8 * ${RETRY_FACTOR}::float8 ^ (least(${tries}, 10) - 1)) * interval '1 second'`
}
