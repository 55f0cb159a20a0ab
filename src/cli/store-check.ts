/**
 * `bun run store-check URL [--origin ORIGIN] [--quick]`: prints what the store at the URL enforces, and without `--quick`
 * runs the storage contract on it. The path of the URL is a bucket without objects, made if it is missing; the key comes
 * from the same settings as the service's.
 * Exit code 1 when the service should not be used with the store.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { readStoreConfig } from '../config/config.ts'
import { checkStore, type Trait } from '../storage/s3/check.ts'

const CONTRACT = ['storage', 'links', 'multipart'].map((name) => `test/contract/${name}.test.ts`)

try {
  const { values, positionals } = parseArgs({
    options: {
      origin: { type: 'string', default: 'https://app.example.com' },
      quick: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  })
  const [url] = positionals
  if (url === undefined || !URL.canParse(url))
    throw new Error('usage: bun run store-check URL [--origin ORIGIN] [--quick]')
  const store = readStoreConfig(url)
  const traits = await checkStore(store, values.origin)
  print(traits)
  if (traits.some(({ fit }) => !fit)) process.exitCode = 1
  if (!values.quick && !(await contractHolds(url))) process.exitCode = 1
} catch (error) {
  const cause = error instanceof Error && error.cause instanceof Error ? `\n  ${error.cause.message}` : ''
  console.error(`${error instanceof Error ? error.message : error}${cause}`)
  process.exitCode = 1
}

function print(traits: readonly Trait[]): void {
  const width = (of: (trait: Trait) => string) => Math.max(...traits.map((trait) => of(trait).length))
  const [what, found] = [width((trait) => trait.what), width((trait) => trait.found)]
  for (const { what: name, found: seen, means, fit } of traits)
    console.log(`${fit ? ' ' : '!'} ${name.padEnd(what)}  ${seen.padEnd(found)}  ${means}`.trimEnd())
}

/** Whether the storage contract holds; also true where the tests are not there, as in the image. */
async function contractHolds(url: string): Promise<boolean> {
  if (!CONTRACT.every((file) => existsSync(file))) {
    console.log('The storage contract is not here: run this in a checkout of the repository.')
    return true
  }
  // Beside the settings of this process, which have the key.
  const settings = [`STORE_CHECK_URL=${url}`, 'TEST_SERVICES=none']
  const command = ['test', '--only-failures', '--test-name-pattern', 'the given store', ...CONTRACT]
  const [code] = await once(spawn('env', [...settings, process.execPath, ...command], { stdio: 'inherit' }), 'close')
  return code === 0
}
