import { cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inCi } from '../process/ci.ts'
import { tied } from '../process/process.ts'
import { repository } from '../repository.ts'
import { createFolder } from '../services/folder.ts'
import { DEBIAN, findDebian } from './base.ts'

/** What an image says about itself, in the words of Docker's format. */
export type ImageConfig = {
  User: string
  Env: string[]
  Entrypoint: string[]
  Cmd: string[]
  WorkingDir: string
  StopSignal: string
  Labels: Record<string, string>
  Healthcheck: { Test: string[]; Interval: number; Timeout: number; Retries: number }
}

export type Image = {
  /** Folder of its files. */
  root: string
  /** That of the files of its base image. */
  base: string
  config: ImageConfig
  remove: () => Promise<void>
}

export function findBuildah(): string | null {
  return Bun.which('buildah')
}

/** Whether images can be built and run here, for `describe.skipIf(!canBuild())`: skipped at home, loudly, and failed in CI. */
export function canBuild(): boolean {
  const missing = [
    ...(findBuildah() === null ? ['buildah (Debian package)'] : []),
    ...(findDebian() === null ? ['a base image (`bun test/setup.ts` makes it with mmdebstrap)'] : []),
    ...(canMount() ? [] : ['the right to mount, which takes root and no container without it']),
  ]
  if (missing.length === 0) return true
  const text = `The image can't be built and run here. Missing: ${missing.join('; ')}.`
  if (inCi()) throw new Error(text)
  console.error(`\n*** SKIPPING the image. ${text}\n`)
  return false
}

/**
 * Builds the repository's Dockerfile, on a stand-in for its base image, with everything that this takes in one folder:
 * in namespaces of mounts and processes that end with the build, however it ends.
 */
export async function buildImage(): Promise<Image> {
  const folder = await createFolder()
  const run = (args: string[]) => buildah(folder.path, args)
  try {
    for (const name of ['base', 'tmp']) await mkdir(join(folder.path, name))
    const context = join(folder.path, 'base')
    await cp(DEBIAN, join(context, 'base.tar'))
    await cp(process.execPath, join(context, 'bun'))
    await cp(join(import.meta.dir, 'docker-entrypoint.sh'), join(context, 'docker-entrypoint.sh'))
    const base = `oven/bun:${Bun.version}-slim`
    await run([...BUILD, '--file', join(import.meta.dir, 'base.Dockerfile'), '--tag', base, context])
    await run([...BUILD, ...(await registrySettings(folder.path)), '--tag', 'media-service', repository])
    const { Docker } = JSON.parse(await run(['inspect', '--type', 'image', 'media-service']))
    return {
      root: await filesOf('media-service', run),
      base: await filesOf(base, run),
      config: Docker.config,
      remove: folder.remove,
    }
  } catch (error) {
    await folder.remove()
    throw error
  }
}

// Docker's format, since OCI's has no health check. The registry of packages is asked from the host's network.
const BUILD = ['build', '--isolation=chroot', '--network=host', '--format=docker', '--layers=false', '--pull-never']

/** An authority of certificates that this machine's package registry needs is needed in the build as well. */
async function registrySettings(folder: string): Promise<string[]> {
  const { NODE_EXTRA_CA_CERTS: authorities } = process.env
  if (!authorities) return []
  await writeFile(join(folder, 'npmrc'), 'cafile=/root/authorities.pem\n')
  const mounted = { [join(folder, 'npmrc')]: '/root/.npmrc', [authorities]: '/root/authorities.pem' }
  return Object.entries(mounted).flatMap(([from, to]) => ['--volume', `${from}:${to}:ro`])
}

async function filesOf(image: string, run: (args: string[]) => Promise<string>): Promise<string> {
  const container = await run(['from', '--pull-never', image])
  // With the driver vfs it is a folder, and nothing is mounted.
  return run(['mount', container])
}

// It keeps caches under /var, wherever its storage is: here in memory, for itself alone.
const ALONE = 'for folder in /var/cache /var/lib; do mount -t tmpfs tmpfs "$folder"; done; exec "$@"'
const NAMESPACES = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']

/** Runs buildah to its end, and resolves with what it printed. */
async function buildah(folder: string, args: string[]): Promise<string> {
  const storage = ['--root', join(folder, 'storage'), '--runroot', join(folder, 'run'), '--storage-driver', 'vfs']
  const command = [...NAMESPACES, 'sh', '-euc', ALONE, 'sh', findBuildah() ?? 'buildah', ...storage, ...args]
  const child = Bun.spawn(tied(command), {
    env: { ...process.env, TMPDIR: join(folder, 'tmp') },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [code, printed, complaint] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  if (code !== 0) throw new Error(`buildah ${args[0]} ended with ${code}:\n${(printed + complaint).slice(-6000)}`)
  return printed.trim()
}

function canMount(): boolean {
  return Bun.spawnSync([...NAMESPACES, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).exitCode === 0
}
