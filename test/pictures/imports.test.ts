import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { repository } from '../support/repository.ts'

const HEIF = 'libheif-js/libheif-wasm/libheif-bundle.mjs'
const PROGRAM = join(repository, 'src', 'pictures', 'child.ts')

test('a decoder process loads its decoders and nothing that opens a connection', async () => {
  const { packages, texts } = await loadedBy(PROGRAM)
  expect([...packages].sort()).toEqual([HEIF, 'node:fs', 'node:process', 'node:zlib', 'sharp', 'thumbhash'])
  // Files of its own are followed here also where they are loaded late.
  for (const [file, text] of texts) {
    expect(`${file}: ${/\b(fetch|WebSocket|EventSource|connect|import)\((?!'\.\/)/.exec(text)?.[0] ?? 'nothing'}`).toBe(
      `${file}: nothing`,
    )
  }
})

/** Follows imports from file to file; those of types alone are gone when the program runs. */
async function loadedBy(program: string): Promise<{ packages: Set<string>; texts: Map<string, string> }> {
  const transpiler = new Bun.Transpiler({ loader: 'ts' })
  const packages = new Set<string>()
  const texts = new Map<string, string>()
  const files = [program]
  for (const file of files) {
    const text = await Bun.file(file).text()
    texts.set(file, text)
    for (const { path } of transpiler.scanImports(text)) {
      const target = join(file, '..', path)
      if (!path.startsWith('.')) packages.add(path)
      else if (!files.includes(target)) files.push(target)
    }
  }
  return { packages, texts }
}
