import { readFile } from 'node:fs/promises'
import { until } from '../http/client.ts'
import { expectNoSecrets } from '../http/secrets.ts'
import { outputOf, processTree, tied } from '../process/process.ts'
import { residentOf } from '../process/process-memory.ts'
import type { Image } from './image.ts'

export type Container = {
  /** Everything it has written so far. */
  logs(): string
  /** What its processes hold now, in bytes, and how many they are. */
  memory(): Promise<{ bytes: number; processes: number }>
  /** Runs a command inside, as its user; resolves with the exit code and what it wrote. */
  exec(command: string[]): Promise<{ code: number; output: string }>
  /** Sends the image's stop signal; resolves with the exit code and the milliseconds until then. */
  stop(): Promise<{ code: number; ms: number }>
}

// As an engine runs a container that is read-only and has one tmpfs, dropped capabilities and no new privileges. The
// service is process 1, as on Kubernetes; the network is this machine's.
const START = `
ROOT=$1 TMPFS=$2
shift 2
mount --bind "$ROOT" "$ROOT"
mount -o remount,bind,ro "$ROOT"
mount -t tmpfs -o "$TMPFS,mode=1777,nosuid,nodev,noexec" tmpfs "$ROOT/tmp"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs -o size=64k,mode=755 tmpfs "$ROOT/dev"
for device in null zero full random urandom; do
  touch "$ROOT/dev/$device"
  mount --bind "/dev/$device" "$ROOT/dev/$device"
done
exec chroot "$ROOT" "$@"`

/**
 * Runs an image without an engine, in namespaces of mounts and processes that end with this process.
 * @param options `tmpfs`: mount options of its /tmp, as `size=64m`
 */
export function startContainer(
  { root, config }: Image,
  { env, tmpfs }: { env: Record<string, string>; tmpfs: string },
): Container {
  const settings = { ...Object.fromEntries(config.Env.map(pair)), HOME: '/home/bun', ...env }
  const inside = (command: string[]) => [
    ...asUser(config),
    'sh',
    '-c',
    'cd "$0" && exec "$@"',
    config.WorkingDir,
    ...command,
  ]
  const start = [
    'unshare',
    '--mount',
    '--propagation=private',
    '--pid',
    '--fork',
    'sh',
    '-euc',
    START,
    'sh',
    root,
    tmpfs,
  ]
  const child = Bun.spawn(tied([...start, ...inside([...config.Entrypoint, ...config.Cmd])]), {
    env: settings,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const output = outputOf(child)
  /** The first process inside, and all under it. */
  const processes = () => processTree(child.pid).slice(1)
  const first = () => until(async () => isInside(processes()[0]), 30_000)

  return {
    logs: output.text,
    async memory() {
      const all = processes()
      const bytes = await Promise.all(all.map(residentOf))
      return { bytes: bytes.reduce((sum, one) => sum + one, 0), processes: all.length }
    },
    async exec(command) {
      const enter = ['nsenter', '--target', String(await first()), '--mount', '--pid', '--root', '--wd']
      const run = Bun.spawn(tied([...enter, ...inside(command)]), { env: settings, stdout: 'pipe', stderr: 'pipe' })
      const [code, ...texts] = await Promise.all([
        run.exited,
        new Response(run.stdout).text(),
        new Response(run.stderr).text(),
      ])
      return { code, output: texts.join('') }
    },
    async stop() {
      const since = performance.now()
      process.kill(await first(), config.StopSignal)
      const code = await child.exited
      await output.ended
      expectNoSecrets(output.text(), env)
      return { code, ms: performance.now() - since }
    },
  }
}

/** `setpriv` of the image's own: the parent's death ends it in spite of the change of user. */
function asUser({ User }: Image['config']): string[] {
  const [uid = '', gid = ''] = User.split(':')
  const rights = ['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--pdeathsig=KILL']
  return ['setpriv', '--reuid', uid, '--regid', gid, '--clear-groups', ...rights, '--']
}

/** The process, once it is what the image starts. */
async function isInside(pid: number | undefined): Promise<number> {
  if (pid === undefined) throw new Error('Nothing runs in the container')
  const uids = /^Uid:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))
  if (uids?.[1] === '0') throw new Error('The container is still being set up')
  return pid
}

function pair(text: string): [string, string] {
  const at = text.indexOf('=')
  return [text.slice(0, at), text.slice(at + 1)]
}
