import { composeAnswers } from './compose.ts'
import { createFolder } from './folder.ts'
import type { ServiceControl } from './native.ts'
import { startRedis } from './redis.ts'
import { startServices } from './services.ts'

/** A Redis that a suite may stop, and whose keys are its own. */
export type OwnRedis = { redis: ServiceControl; stop(): Promise<void> }

export async function startOwnRedis(): Promise<OwnRedis> {
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
