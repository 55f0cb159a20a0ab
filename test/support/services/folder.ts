import { chmod, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type Folder = { path: string; remove(): Promise<void> }

/**
 * A temporary folder for services, which goes away when `remove` is called or this process ends, be it by SIGKILL.
 * Whatever still runs by then of what left its pid in `FOLDER/NAME/pid` is ended first.
 */
export async function createFolder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), 'media-service-test-'))
  // Postgres may run as another user and has to get through to its own folder.
  await chmod(path, 0o711)
  return { path, remove: atEnd(removeFolder, [path]) }
}

/**
 * Has a shell script run once, in a process of its own, when the returned function is called or else when this process
 * ends: the shell waits on a pipe from this process, which the kernel closes at our death. A session of its own keeps
 * Ctrl-C in the terminal away from it.
 */
export function atEnd(script: string, args: string[], env: Record<string, string> = {}): () => Promise<void> {
  const keeper = Bun.spawn(['/bin/sh', '-c', `trap '' HUP INT TERM; read -r _; ${script}`, 'sh', ...args], {
    stdin: 'pipe',
    stdout: 'ignore',
    // Nobody would read a pipe after our death, and writing to it would then end the script half-way.
    stderr: 'ignore',
    detached: true,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  })
  return async () => {
    await keeper.stdin.end()
    const code = await keeper.exited
    if (code !== 0) throw new Error(`Cleaning up ended with ${code}: ${args.join(' ')}`)
  }
}

/**
 * SIGCONT first: a paused process acts on no other signal. SIGQUIT is Postgres' immediate shutdown, which also frees
 * its shared memory. Several tries, since a process that is just ending may still write files.
 */
const removeFolder = `
for pid in $(cat "$1"/*/pid 2>/dev/null); do kill -CONT "$pid" 2>/dev/null && kill -QUIT "$pid" 2>/dev/null; done
tries=0
until rm -rf -- "$1" 2>/dev/null; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || exit 1
  sleep 0.1
done`
