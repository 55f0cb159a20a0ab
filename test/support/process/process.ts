import { setTimeout as sleep } from 'node:timers/promises'

/**
 * The command line that makes a program die with this process, however this process dies: the kernel sends `signal`
 * (Linux, util-linux' `setpriv`; elsewhere the command comes back as it is). `setpriv` replaces itself by the program,
 * so the pid is the program's own. Set `user` to run it as someone else; that needs root.
 */
export function tied(command: string[], options: { user?: string; signal?: 'KILL' | 'QUIT' } = {}): string[] {
  const { user, signal = 'KILL' } = options
  const asUser = user ? ['--reuid', user, '--regid', user, '--init-groups'] : []
  if (canTie()) return ['setpriv', '--pdeathsig', signal, ...asUser, '--', ...command]
  if (user) throw new Error(`Running a program as ${user} needs setpriv of util-linux 2.35 or later`)
  return command
}

/**
 * Signals a process and everything under it, and returns their pids. The process group would not do: Postgres puts each
 * backend into a session of its own.
 */
export function signalTree(pid: number, signal: NodeJS.Signals): number[] {
  // The root first: a stopped or dead root starts no children while the rest is being listed.
  if (signal === 'SIGSTOP' || signal === 'SIGKILL') send(pid, 'SIGSTOP')
  const tree = processTree(pid)
  for (const member of tree) send(member, signal)
  return tree
}

/** Waits until none of the processes runs any more; a zombie counts as gone. */
export async function waitUntilGone(pids: number[], milliseconds = 10_000): Promise<void> {
  const deadline = Date.now() + milliseconds
  while (runningOf(pids).length > 0) {
    if (Date.now() > deadline) throw new Error(`Still running after ${milliseconds} ms: ${runningOf(pids).join(', ')}`)
    await sleep(10)
  }
}

/** Those of the processes that still run. */
export function runningOf(pids: number[]): number[] {
  const running = new Set(
    listProcesses()
      .filter((entry) => !entry.state.startsWith('Z'))
      .map((entry) => entry.pid),
  )
  return pids.filter((pid) => running.has(pid))
}

/** A process and all its descendants, parents before children. */
export function processTree(root: number): number[] {
  const all = listProcesses()
  const tree = [root]
  for (const pid of tree) tree.push(...all.filter((entry) => entry.parent === pid).map((entry) => entry.pid))
  return tree
}

/** Everything a program writes, stdout and stderr as they come; `ended` once it has closed both. */
export function outputOf(child: Bun.Subprocess<'ignore', 'pipe', 'pipe'>): { text(): string; ended: Promise<unknown> } {
  let written = ''
  const ended = Promise.all(
    [child.stdout, child.stderr].map(async (stream) => {
      for await (const text of stream.pipeThrough(new TextDecoderStream())) written += text
    }),
  )
  return { text: () => written, ended }
}

/** Runs a program to its end; one that fails is an error with what it wrote to stderr. */
export async function runToEnd(
  command: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<void> {
  const env = { PATH: process.env.PATH, TZ: 'UTC', ...options.env }
  const child = Bun.spawn(command, { ...options, env, stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' })
  const [code, complaint] = await Promise.all([child.exited, new Response(child.stderr).text()])
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}: ${complaint}`)
}

let tieable: boolean | undefined

/** Asked by trying: the setpriv of BusyBox knows no --pdeathsig. */
function canTie(): boolean {
  tieable ??=
    Bun.which('setpriv') !== null && Bun.spawnSync(['setpriv', '--pdeathsig', 'KILL', '--', 'true']).exitCode === 0
  return tieable
}

function listProcesses(): { pid: number; parent: number; state: string }[] {
  const { stdout } = Bun.spawnSync(['ps', '-A', '-o', 'pid=,ppid=,stat='])
  return stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => {
      const [pid, parent, state = ''] = line.trim().split(/\s+/)
      return { pid: Number(pid), parent: Number(parent), state }
    })
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // It ended between being listed and being signalled.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
