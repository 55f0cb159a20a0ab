import { startServices } from './services/services.ts'
import { startProxy } from './proxy.ts'
import { denoCmd } from './exp-deno.ts'
const s = await startServices({})
const proxy = await startProxy(s.s3.endpoint)
const server = Bun.serve({ port: 0, async fetch(r) { const m = new URL(r.url).pathname.slice(1); await (proxy as any)[m](); return new Response('ok') } })
for (const cmd of [[process.execPath, 'test/exp-s3.ts'], [...denoCmd, 'test/exp-s3.ts']]) {
  console.log(cmd[0])
  const c = Bun.spawn(cmd, { env: { ...process.env, EP: proxy.url, CTL: `http://127.0.0.1:${server.port}` }, stdout: 'inherit', stderr: 'inherit' })
  await c.exited
  await proxy.pass()
}
await proxy.close(); server.stop(true)
await s.stop()
process.exit(0)
