/** Pictures that others got as they came are taken from them, after PUBLIC_ORIGINALS was turned off. */
import { BATCH_ROWS, type Step } from '../step.ts'

/** Their keys are on their rows then, for the next step to remove. */
export const withdrawUncleaned: Step = async ({ repository, publicity }) => {
  if (publicity.publicOriginals) return
  while ((await repository.withdrawUncleaned(BATCH_ROWS)) === BATCH_ROWS);
}
