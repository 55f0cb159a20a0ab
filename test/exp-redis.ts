import { startServices } from './services/services.ts'
import { startProxy } from './proxy.ts'
import { createRedisEventBus } from '../src/events/redis.ts'
import { pino } from 'pino'
const s = await startServices({})
const proxy = await startProxy(s.redisUrl)
process.on('unhandledRejection', (e) => console.log('UNHANDLED', e))
const bus = await createRedisEventBus({ url: proxy.url, log: pino({level:'warn'}) })
const t0 = performance.now()
const at = () => ((performance.now() - t0) / 1000).toFixed(2)
const ev = () => ({ channel: 'photo:uploaded' as const, payload: { id: 'x', userId: 'u', eventId: crypto.randomUUID(), seq: 1, occurredAt: '' } })
const q = async () => { const b = performance.now(); const r = await bus.publish([ev()]).then(() => 'ok', (e) => e.message); console.log(at(), r, (performance.now() - b).toFixed(0)) }
await q()
for (const mode of ['blackhole', 'moveAway', 'refuse', 'cut'] as const) {
  console.log(mode)
  await proxy[mode]()
  await q(); await Bun.sleep(500); await q(); await q(); await Bun.sleep(1500); await q()
  await proxy.pass(); console.log('pass')
  for (let i = 0; i < 8; i++) { await q(); await Bun.sleep(400) }
}
await bus.close()
await proxy.close()
await s.stop()
process.exit(0)
