/** `bun run reconcile [--fix]`: compares the whole store with the table. Exit code 1 when differences remain. */
import process from 'node:process'
import { type Finding, type Progress, reconcile, repair } from '../media/upkeep/reconcile.ts'
import { runCommand } from './command.ts'

const fix = process.argv.includes('--fix')

await runCommand(async ({ storage, repository }) => {
  const progress: Progress = { objects: 0, rows: 0 }
  const counts: Partial<Record<Finding['kind'], number>> = {}
  const showing = showProgress(progress)
  for await (const finding of reconcile({ repository, storage }, progress)) {
    counts[finding.kind] = (counts[finding.kind] ?? 0) + 1
    console.log(describe(finding))
    if (fix) await repair(finding, { repository, storage })
  }
  clearInterval(showing)

  const { foreign = 0, ...faults } = counts
  const left = Object.values(faults).reduce((sum, count) => sum + count, 0)
  console.log(`${progress.objects} objects compared with ${progress.rows} rows`)
  console.log(
    `${left} differences${left === 0 ? '' : fix ? ', mended' : '; --fix mends them'}; ${foreign} foreign keys`,
  )
  if (left > 0 && !fix) process.exitCode = 1
})

function describe(finding: Finding): string {
  switch (finding.kind) {
    case 'bytes_without_row':
      return `bytes without a row: ${finding.key} (${finding.size} bytes)`
    case 'stray_bytes':
      return `bytes beside an object's own: ${finding.key} (${finding.size} bytes)`
    case 'row_without_bytes':
      return `row without bytes: ${finding.id} (${finding.key})`
    case 'copy_without_bytes':
      return `public copy without bytes: ${finding.id} (${finding.key})`
    case 'size_differs':
      return `size differs: ${finding.id} (${finding.key}): ${finding.size} bytes, not ${finding.expected}`
    case 'rendition_lost':
      return `rendition lost, to be made again: ${finding.id} (${finding.key})`
    case 'foreign':
      return `foreign key, left alone: ${finding.key}`
  }
}

/** Prints progress once a second, on a terminal only. */
function showProgress(progress: Progress): ReturnType<typeof setInterval> | undefined {
  if (!process.stderr.isTTY) return undefined
  return setInterval(() => process.stderr.write(`\r${progress.objects} objects, ${progress.rows} rows `), 1000)
}
