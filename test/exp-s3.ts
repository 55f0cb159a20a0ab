import { createS3Storage, prepareBucket } from '../src/storage/s3.ts'
const endpoint = process.env.EP!
const ctl = process.env.CTL!
const config = { endpoint, publicEndpoint: endpoint, region: 'us-east-1', bucket: 'media', forcePathStyle: true, credentials: { accessKeyId: 'test-access-key', secretAccessKey: 'test-secret-access-key' } }
process.on('unhandledRejection', (e) => console.log('UNHANDLED', e))
await prepareBucket(config)
const store = createS3Storage(config, { guardCopies: true })
const t0 = performance.now()
const at = () => ((performance.now() - t0) / 1000).toFixed(2)
const control = async (m: string) => { await (await fetch(`${ctl}/${m}`)).text() }
const sleep = (ms: number) => new Promise(r => setTimeout(r, ms))
const run = async (n: number, f: (i: number) => Promise<unknown>) => { const c: Record<string, number> = {}; const b = performance.now(); await Promise.all(Array.from({length: n}, (_, i) => f(i).then(() => 'ok', (e) => String(e.cause?.name) + ' ' + String(e.cause?.message ?? e.message).slice(0, 60)).then(x => { c[x] = (c[x] ?? 0) + 1 }))); console.log(at(), JSON.stringify(c), (performance.now() - b).toFixed(0)) }
const sig = () => ({ signal: AbortSignal.timeout(1000) })
const head = (n: number) => run(n, (i) => store.head(`media/x${i}`, sig()))
const put = (n: number) => run(n, (i) => store.put(`media/${crypto.randomUUID()}/${i}`, new Uint8Array(200_000), { contentType: 'image/jpeg', ...sig() }))
for (const mode of ['blackhole', 'moveAway', 'refuse', 'cut']) {
  await head(30); await put(30)
  console.log(mode)
  await control(mode)
  await head(1); await put(1); await head(3)
  await control('pass')
  for (let i = 0; i < 4; i++) { await head(1); await put(1); }
  await head(30); await put(30); await head(30); await put(30)
}
process.exit(0)
