/** Step: withdraws the public copies of pictures that have their metadata, after PUBLIC_ORIGINALS was turned off. */
import { BATCH_ROWS, type Step } from '../step.ts'

/** Their keys become transient, for the next step to remove. */
export const withdrawUncleaned: Step<'publicCopies'> = async ({ repository, publicAccess }) => {
  if (publicAccess.publicOriginals) return
  while ((await repository.publicCopies.withdrawUncleaned(BATCH_ROWS)) === BATCH_ROWS);
}
