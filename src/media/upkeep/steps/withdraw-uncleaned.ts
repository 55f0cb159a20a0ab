/** Pictures that others got as they came are taken from them, after PUBLIC_ORIGINALS was turned off. */
import { createMoves } from '../../moves.ts'
import { BATCH_ROWS, type Step } from '../step.ts'

export const withdrawUncleaned: Step = async (deps) => {
  const { repository, publicity } = deps
  if (publicity.publicOriginals) return
  const moves = createMoves(deps)
  for (;;) {
    const keys = await repository.withdrawUncleaned(BATCH_ROWS)
    for (const key of keys) await moves.remove(key)
    if (keys.length < BATCH_ROWS) return
  }
}
