/** Public objects get to the CDN. */
import { Problem } from '../../../problem.ts'
import type { StoredObject } from '../../object.ts'
import type { Publish } from '../../publish.ts'
import { inIdleTime } from '../idle-time.ts'
import type { Step } from '../step.ts'

export const publishAll: Step = async (deps, report) => {
  const { repository, publicity, publish } = deps
  if (!publicity.hasCdn) return
  await inIdleTime(deps, async () => {
    const row = await repository.claimPublication()
    if (row !== null && (await publishOne(row, publish))) report.published += 1
    return row !== null
  })
}

async function publishOne(row: StoredObject, publish: Publish): Promise<boolean> {
  try {
    await publish(row)
    return true
  } catch (error) {
    // It can't be, which `publish` has noted; or it is not public any more.
    if (error instanceof Problem && (error.status === 422 || error.code === 'not_found')) return false
    throw error
  }
}
