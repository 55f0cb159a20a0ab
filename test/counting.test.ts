import { describe, expect, test } from 'bun:test'
import { countTests } from './counting.ts'

const summary = (...lines: string[]) => `${lines.join('\n')}\nRan 4 tests across 2 files. [10.00ms]\n`

describe('counting a test run', () => {
  test('takes the summary, in colour too, and todo as skipped', () => {
    const stderr = summary(
      '(pass) sends 3 fail',
      '',
      '\u001b[32m 12 pass\u001b[0m',
      ' 3 skip',
      ' 1 todo',
      ' 0 fail',
      ' 9 expect() calls',
    )
    expect(countTests(0, stderr)).toEqual({ passed: 12, failed: 0, skipped: 4 })
  })

  test('counts a file that does not load once', () => {
    expect(countTests(1, summary('', ' 1 pass', ' 1 fail', ' 1 error'))).toEqual({ passed: 1, failed: 1, skipped: 0 })
  })

  test('is a failure when the run ended badly with no failed test', () => {
    expect(countTests(1, summary('', ' 1 pass', ' 0 fail'))).toEqual({ passed: 1, failed: 1, skipped: 0 })
  })

  test('is a failure when there is no summary, whatever the exit code', () => {
    expect(countTests(0, '(pass) a\n')).toEqual({ passed: 0, failed: 1, skipped: 0 })
  })
})
