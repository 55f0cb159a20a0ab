/** How much a service grows over one large upload. */
import { MiB } from '../test/support/http/parts.ts'
import { openStage, type Stage } from '../test/support/process/acceptance.ts'
import { peakOf, resetPeak, residentOf } from '../test/support/process/process-memory.ts'
import type { Figure } from './figure.ts'

const WARM_UP = { times: 10, size: 40 * MiB }

/** Peak minus what was held before, in bytes, of a fresh service on which `upload` sends a file of `size` bytes. */
export async function growthOver(
  size: number,
  upload: (stage: Stage, size: number) => Promise<void>,
): ReturnType<Figure['measure']> {
  const stage = await openStage({ MAX_OBJECT_BYTES: String(size) })
  try {
    const { pid } = stage.service
    // What is loaded and compiled with the first uploads is there from then on, whatever their size.
    for (let i = 0; i < WARM_UP.times; i++) await upload(stage, WARM_UP.size)
    await resetPeak(pid)
    const before = await residentOf(pid)
    const start = performance.now()
    await upload(stage, size)
    const seconds = (performance.now() - start) / 1000
    return {
      bytes: (await peakOf(pid)) - before,
      note: `${Math.round(size / seconds / 1e6)} MB/s; ${Math.round(before / 1e6)} MB before`,
    }
  } finally {
    await stage.close()
  }
}
