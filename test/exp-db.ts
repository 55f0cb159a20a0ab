import { connect, within } from '../src/db/connect.ts'
import { startProxy } from './proxy.ts'
import { startServices } from './services/services.ts'

const s = await startServices({})
const proxy = await startProxy(s.databaseUrl)
console.log(proxy.url, s.databaseUrl)
process.on('unhandledRejection', (e) => console.log('UNHANDLED', e))
const sql = connect({ url: proxy.url })
const t0 = performance.now()
const at = () => ((performance.now() - t0) / 1000).toFixed(2)
const q = async (n: number) =>
  console.log(
    at(),
    n,
    await Promise.all(
      Array.from({ length: n }, () =>
        within(sql`select 1 as a`).then(
          () => 'ok',
          (e) => e.cause?.code ?? e.cause?.message ?? e.message,
        ),
      ),
    ).then((r) => {
      const c: Record<string, number> = {}
      for (const x of r) c[x] = (c[x] ?? 0) + 1
      return c
    }),
  )
await q(30)
if (process.argv[2] === 'move') await proxy.moveAway()
else await proxy.blackhole()
const p = q(40)
await Bun.sleep(1000)
await p
await proxy.pass()
for (let i = 0; i < 6; i++) {
  await q(10)
  await Bun.sleep(500)
}
await sql.end({ timeout: 1 })
await proxy.close()
await s.stop()
process.exit(0)
