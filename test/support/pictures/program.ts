/**
 * A process that has a pool, for tests of what becomes of its children, on either runtime. Prints a line for each picture
 * that is done; begins a slow one, prints `busy`, and prints how that ended.
 */
import { readFile } from 'node:fs/promises'
import process from 'node:process'
import { createDecoders } from '../../../src/pictures/decoders.ts'
import type { DecodeTask } from '../../../src/pictures/decoding.ts'
import { createRecordingLog } from '../process/recording-log.ts'

const [quickFile = '', slowFile = ''] = process.argv.slice(2)
const decoders = createDecoders(
  { decoders: 2, decoderMemoryBytes: 400 * 1024 * 1024, decoderCpuSeconds: 60, allowedTypes: new Set(['image/jpeg']) },
  { log: createRecordingLog().log },
)

const task = (width: number, height: number, format: 'avif' | 'webp'): DecodeTask => ({
  ...({ kind: 'rendition', mimeType: 'image/jpeg', expected: { width, height }, placeholder: true } as const),
  rendition: { width, height, fit: 'inside', format, quality: 95 },
})

async function run(task: DecodeTask, file: string): Promise<void> {
  const bytes = await readFile(file)
  async function* read() {
    yield bytes
  }
  const source = { sizeBytes: bytes.length, read }
  const made = await decoders.run({ task, source, party: 'owner:1', until: Date.now() + 60_000 })
  console.log(`${made.width}x${made.height} ${made.bytes?.length ?? 0} ${made.placeholder?.dominantColor}`)
}

const quick = () => run(task(640, 427, 'webp'), quickFile)
await Promise.all([quick(), quick()])
const slow = run(task(1000, 1000, 'avif'), slowFile)
console.log('busy')
await slow
await decoders.stop(0)
console.log('stopped')
