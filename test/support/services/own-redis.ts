import { afterAll, beforeAll, expect } from 'bun:test'
import { composeAnswers } from './compose.ts'
import { createFolder } from './folder.ts'
import type { ServiceControl } from './native.ts'
import { startRedis } from './redis.ts'
import { startServices } from './services.ts'

/** A Redis that a suite may stop, and whose keys are its own. */
export type OwnRedis = { redis: ServiceControl; stop(): Promise<void> }

/** One for the tests of a file, where services are there. */
export function ownRedis(have: boolean): OwnRedis {
  let own: OwnRedis | undefined
  const started = () => own ?? expect.unreachable('before the tests')
  beforeAll(async () => {
    if (have) own = await startOwnRedis()
  }, 60_000)
  afterAll(() => own?.stop(), 60_000)
  return {
    get redis() {
      return started().redis
    },
    stop: () => started().stop(),
  }
}

async function startOwnRedis(): Promise<OwnRedis> {
  if (composeAnswers()) {
    const { control, stop } = await startServices({})
    if (control === undefined) throw new Error('the services are not ours')
    return { redis: control.redis, stop }
  }
  const folder = await createFolder()
  const redis = await startRedis(folder.path)
  return {
    redis,
    async stop() {
      await redis.stop()
      await folder.remove()
    },
  }
}
