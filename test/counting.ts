import { stripVTControlCharacters } from 'node:util'

export type Count = { passed: number; failed: number; skipped: number }

/**
 * The counts of a `bun test` run from its exit code and what it wrote to stderr (as of Bun 1.4.5):
 *
 *      12 pass
 *      3 skip
 *      1 todo
 *      0 fail
 *      1 error
 *     Ran 16 tests across 2 files. [10.00ms]
 *
 * An error, such as a file that does not load, is in `fail` already. A run without these lines (no test found, a test
 * that called `process.exit(0)`, a crash) has failed whatever its exit code says, and so has one that ended badly
 * without a failed test.
 */
export function countTests(exitCode: number, stderr: string): Count {
  const [, lines = ''] =
    stripVTControlCharacters(stderr).match(/(?:^|\n)((?: *\d+ [^\n]+\n)+)Ran \d+ tests? across \d+ files?/) ?? []
  const count = (word: string) => Number(lines.match(new RegExp(`^ *(\\d+) ${word}`, 'm'))?.[1] ?? 0)
  const failed = Math.max(count('fail'), count('error'))
  const sound = lines !== '' && (exitCode === 0) === (failed === 0)
  return { passed: count('pass'), failed: sound ? failed : Math.max(failed, 1), skipped: count('skip') + count('todo') }
}
