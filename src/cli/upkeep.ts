/**
 * `bun run upkeep`: runs upkeep once and prints its report. With `--resume-events`, events that were set aside become
 * due again first; the relay of a running replica sends them.
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { runCommand } from './command.ts'

const { values } = parseArgs({ options: { 'resume-events': { type: 'boolean', default: false } } })

await runCommand(async ({ upkeep, repository }) => {
  if (values['resume-events']) console.log(`objects with events due again: ${await repository.outbox.resume()}`)
  const { failed, ...counts } = await upkeep.run()
  for (const [what, count] of Object.entries(counts)) console.log(`${what}: ${count}`)
  if (failed.length > 0) {
    console.error(`not finished: ${failed.join(', ')}`)
    process.exitCode = 1
  }
})
