/** `bun run upkeep`: one pass of upkeep, and what it did. */
import process from 'node:process'
import { runCommand } from './command.ts'

await runCommand(async ({ upkeep }) => {
  const { failed, ...counts } = await upkeep.run()
  for (const [what, count] of Object.entries(counts)) console.log(`${what}: ${count}`)
  if (failed.length > 0) {
    console.error(`not finished: ${failed.join(', ')}`)
    process.exitCode = 1
  }
})
