/** What other decoders refused, or other limits did not allow, is tried again. */
import { BATCH_ROWS, type Step } from '../step.ts'

export const forgetOutcomes: Step = async ({ repository, decode, stopping }) => {
  for (;;) {
    const count = await repository.forgetOutcomes(decode.version, BATCH_ROWS)
    if (count < BATCH_ROWS || stopping()) return
  }
}
