/** Step: removes the bytes under transient keys, such as the public copies of objects that became private. */
import { createRekeying } from '../../bytes/rekey.ts'
import { removable } from '../../object/transients.ts'
import { inBatches } from '../rows.ts'
import { BATCH_ROWS, type Step } from '../step.ts'

export const removeTransients: Step<'transients'> = async (deps, report) => {
  const rekeying = createRekeying(deps)
  await inBatches(deps, BATCH_ROWS, deps.repository.transients.claim, async ({ id, ...transients }) => {
    // A multipart copy may have ended halfway.
    for (const key of removable(transients)) await deps.storage.abortUploads(key)
    report.orphans += await rekeying.removeTransients(id, transients)
  })
}
