/** Step: moves uploads that did not complete in time to purging. */
import { BATCH_ROWS, type Step } from '../step.ts'

export const expire: Step<'purging'> = async ({ repository, autoComplete }, report) => {
  for (;;) {
    const count = await repository.purging.expire(BATCH_ROWS, { tried: autoComplete })
    report.expired += count
    if (count < BATCH_ROWS) return
  }
}
