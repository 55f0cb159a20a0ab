import { mkdir } from 'node:fs/promises'

export type SmallFolder = { path: string; remove(): Promise<void> }

/**
 * A folder whose file system is of this size, at a path that need not exist. Where this process may not mount one, the
 * tests that need it are skipped, and say so.
 * @param size as mount(8) writes it, perhaps with other options: `64m`
 */
export async function mountTmpfs(path: string, size: string): Promise<SmallFolder | undefined> {
  await mkdir(path, { recursive: true })
  const mounted = Bun.which('mount')
    ? await Bun.$`mount -t tmpfs -o size=${size} tmpfs ${path}`.nothrow().quiet()
    : null
  if (mounted?.exitCode !== 0) {
    const why = mounted?.stderr.toString().trim() ?? 'there is no mount'
    console.error(`\n*** SKIPPING what needs a small file system, which takes root on Linux: ${why}\n`)
    return undefined
  }
  return {
    path,
    async remove() {
      await Bun.$`umount --lazy ${path}`.quiet()
    },
  }
}
