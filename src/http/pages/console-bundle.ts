/** The console's script and styles, put together from `src/console` and the packages it uses, as they are installed. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const MAIN = new URL('../../console/main.tsx', import.meta.url)

/** What the packages bring, then our own, which says otherwise in places. */
const STYLES = [
  import.meta.resolve('@uppy/core/css/style.min.css'),
  import.meta.resolve('@uppy/dashboard/css/style.min.css'),
  import.meta.resolve('@uppy/webcam/css/style.min.css'),
  ...['base', 'gallery', 'details', 'uploader'].map((name) => new URL(`styles/${name}.css`, MAIN).href),
]

/** Takes 0.2 to 0.6 s of one core. The bundler is loaded for it, so a service whose console nobody opens never has it. */
export async function bundleScript(): Promise<string> {
  const { rolldown } = await import('rolldown')
  const bundle = await rolldown({
    input: fileURLToPath(MAIN),
    platform: 'browser',
    tsconfig: false,
    transform: {
      define: { 'process.env.NODE_ENV': '"production"' },
      jsx: { runtime: 'automatic', importSource: 'preact' },
    },
  })
  try {
    const { output } = await bundle.generate({ format: 'es', minify: true, codeSplitting: false })
    return output[0].code
  } finally {
    await bundle.close()
  }
}

export async function joinStyles(): Promise<string> {
  const files = await Promise.all(STYLES.map((url) => readFile(new URL(url), 'utf8')))
  return files.join('\n')
}
