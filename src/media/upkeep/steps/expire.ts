/** Uploads that did not end in time are given up. */
import { BATCH_ROWS, type Step } from '../step.ts'

export const expire: Step = async ({ repository }, report) => {
  for (;;) {
    const count = await repository.expire(BATCH_ROWS)
    report.expired += count
    if (count < BATCH_ROWS) return
  }
}
