/** Encodes HEICs with heif-enc (Debian's libheif-examples, with x265), as programs other than ours write them. */
import { join } from 'node:path'
import { inCi } from '../process/ci.ts'
import { createFolder } from '../services/folder.ts'
import type { Bytes } from './picture-pieces.ts'

/** Null where it is missing, or comes without the encoder of HEIC, which newer Debians have in a package of its own. */
export function findHeifEnc(): string | null {
  const program = Bun.which('heif-enc')
  if (program === null) return null
  const { stdout, stderr } = Bun.spawnSync([program, '--list-encoders'])
  return `${stdout}${stderr}`.includes('x265') ? program : null
}

/** Whether there is heif-enc, for `describe.skipIf(!haveHeifEnc())`: without, skipped at home, loudly, and failed in CI. */
export function haveHeifEnc(): boolean {
  if (findHeifEnc() !== null) return true
  const missing = 'There is no heif-enc: install the Debian package libheif-examples, as `bun test/setup.ts` does.'
  if (inCi()) throw new Error(missing)
  console.error(`\n*** SKIPPING every test that needs heif-enc. ${missing}\n`)
  return false
}

/** @param source a JPEG or PNG, whose metadata is taken over */
export async function encodeHeic(source: Uint8Array, type: 'jpg' | 'png', ...options: string[]): Promise<Bytes> {
  const folder = await createFolder()
  try {
    const [from, to] = [join(folder.path, `a.${type}`), join(folder.path, 'a.heic')]
    await Bun.write(from, source)
    const command = [findHeifEnc() ?? 'heif-enc', '-q', '50', '-p', 'preset=ultrafast', ...options, from, '-o', to]
    const { exitCode, stderr } = Bun.spawnSync(command)
    if (exitCode !== 0) throw new Error(`heif-enc ended with ${exitCode}: ${stderr}`)
    return await Bun.file(to).bytes()
  } finally {
    await folder.remove()
  }
}
