import { setTimeout as sleep } from 'node:timers/promises'
import { tied } from '../support/process/process.ts'
import { repository } from '../support/repository.ts'
import type { ServiceControl } from '../support/services/native.ts'
import type { Random } from './random.ts'
import type { Replica } from './replica.ts'

export type Damage = { kills: number; restarts: Record<'postgres' | 'redis' | 'minio', number>; upkeepsKilled: number }

type Backing = keyof Damage['restarts']
type Parts = {
  replicas: readonly [Replica, ...Replica[]]
  control: Record<Backing, ServiceControl>
  env: Record<string, string>
}

/**
 * Kills and starts again, several things at once at times, until `goesOn` says no, and counts that in `damage`. Resolves when everything runs, and
 * rejects when something does not come up any more.
 */
export async function runChaos(parts: Parts, random: Random, goesOn: () => boolean, damage: Damage): Promise<void> {
  const pending: Promise<void>[] = []
  const down = new Set<Backing>()

  async function restart(name: Backing, pause: number): Promise<void> {
    if (down.has(name)) return
    down.add(name)
    await parts.control[name].kill()
    damage.restarts[name] += 1
    await sleep(pause)
    await parts.control[name].start()
    down.delete(name)
  }

  /** Often so soon again that it has not finished starting. */
  async function killReplica(replica: Replica, pause: number): Promise<void> {
    await replica.kill()
    damage.kills += 1
    await sleep(pause)
    replica.start()
  }

  async function killUpkeep(after: number): Promise<void> {
    const { PATH, HOME, TMPDIR } = process.env
    const upkeep = Bun.spawn(tied([process.execPath, '--no-env-file', 'src/cli/upkeep.ts']), {
      cwd: repository,
      env: { PATH, HOME, TMPDIR, ...parts.env },
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    await sleep(after)
    if (upkeep.exitCode === null) damage.upkeepsKilled += 1
    upkeep.kill('SIGKILL')
    await upkeep.exited
  }

  // One of each first, so that even the shortest run has them all.
  const first: Backing[] = ['postgres', 'minio', 'redis']
  for (let turn = 0; goesOn(); turn++) {
    const backing = turn % 3 === 0 ? first.shift() : undefined
    if (backing !== undefined) pending.push(restart(backing, random.whole(0, 500)))
    else if (random.chance(0.1)) pending.push(killUpkeep(random.whole(300, 1500)))
    else if (random.chance(0.15)) pending.push(restart(random.pick(BACKING), random.whole(0, 1000)))
    else pending.push(killReplica(random.pick(parts.replicas), random.whole(0, 800)))
    await sleep(random.whole(300, 1500))
  }
  await Promise.all(pending)
  await Promise.all(parts.replicas.map((replica) => replica.untilReady()))
}

export function noDamage(): Damage {
  return { kills: 0, restarts: { postgres: 0, redis: 0, minio: 0 }, upkeepsKilled: 0 }
}

const BACKING: readonly [Backing, ...Backing[]] = ['postgres', 'redis', 'minio']
