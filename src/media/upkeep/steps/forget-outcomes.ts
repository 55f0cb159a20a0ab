/** Step: clears decoding outcomes of other decoders or other limits, so that the tasks are tried again. */
import { BATCH_ROWS, type Step } from '../step.ts'

export const forgetOutcomes: Step<'outcomes'> = async ({ repository, decode, stopping }) => {
  for (;;) {
    const count = await repository.outcomes.forget(decode.version, BATCH_ROWS)
    if (count < BATCH_ROWS || stopping()) return
  }
}
