/**
 * `bun run bench:memory [WORD…]`: how much memory the service takes for what it must be able to do with little, on
 * services of its own. Measures what has one of the words in its name, everything without any; fails when something
 * takes more than it may. Direct uploads are sent to the reference in turn. Needs Linux.
 */

import { MB } from '../test/support/process/process-memory.ts'
import { endWhatIsShared } from '../test/support/services/shared.ts'
import { manyDirect, sixDirect } from './direct.ts'
import type { Figure } from './figure.ts'
import { multipart } from './multipart.ts'
import { tus } from './tus.ts'

const figures: Figure[] = [sixDirect, manyDirect, multipart, tus]

if (import.meta.main) await measure(process.argv.slice(2))

async function measure(words: string[]): Promise<void> {
  const chosen = figures.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))
  try {
    for (const { name, mostMb, measure } of chosen) {
      const { bytes, referenceBytes, note } = await measure()
      const fits = bytes <= mostMb * MB
      const parts = [`${(bytes / MB).toFixed(1)} MB, goal at most ${mostMb} MB`]
      if (referenceBytes !== undefined) parts.push(`reference ${(referenceBytes / MB).toFixed(1)} MB`)
      console.log(`${fits ? 'ok  ' : 'OVER'} ${name}: ${parts.join(', ')}${note === undefined ? '' : ` (${note})`}`)
      if (!fits) process.exitCode = 1
    }
  } finally {
    await endWhatIsShared()
  }
}
