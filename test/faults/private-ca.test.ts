import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { once } from 'node:events'
import { connect as connectTo } from 'node:net'
import { createServer, type Server } from 'node:tls'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { openBuses } from '../../src/boot/redis.ts'
import { answered, createClient, newUser, until } from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { settingsFor } from '../support/process/acceptance.ts'
import { readiness } from '../support/process/faults.ts'
import { freePort } from '../support/process/port.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { acceptanceRun, startService } from '../support/process/service.ts'
import { createBucketName, removeBucket } from '../support/services/buckets.ts'
import { createCertificates, haveOpenssl } from '../support/services/certificates.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import type { ServiceControl } from '../support/services/native.ts'
import { findPostgres, startPostgres } from '../support/services/postgres.ts'
import { findRedis, startRedisServer } from '../support/services/redis.ts'
import { haveServices, services } from '../support/services/shared.ts'

const present = (await haveServices()) && findPostgres() !== undefined && findRedis() !== undefined && haveOpenssl()
const { runtime } = acceptanceRun()
const CA_SETTING = runtime === 'deno' ? 'DENO_CERT' : 'NODE_EXTRA_CA_CERTS'

describe.skipIf(!present)('database, Redis, store and key set with certificates by a private CA', () => {
  let folder: Folder
  let ca: string
  let env: Record<string, string>
  const bucket = createBucketName()
  const running: ServiceControl[] = []
  let store: Server
  let keys: Bun.Server<undefined>
  let token: string
  beforeAll(async () => {
    folder = await createFolder()
    const shared = await services()
    const made = await createCertificates(folder.path)
    ca = made.ca
    const tls = { cert: await Bun.file(made.server.cert).text(), key: await Bun.file(made.server.key).text() }

    const postgres = await startPostgres(folder.path, { tls: made.server })
    const redisPort = await freePort()
    const files = ['--tls-cert-file', made.server.cert, '--tls-key-file', made.server.key, '--tls-ca-cert-file', ca]
    const redis = await startRedisServer(folder.path, 'tls', {
      args: ['--tls-port', String(redisPort), '--tls-auth-clients', 'no', ...files],
    })
    running.push(postgres, redis)

    const { hostname, port } = new URL(shared.s3.endpoint)
    store = createServer(tls, (socket) => {
      const behind = connectTo(Number(port), hostname)
      socket.on('error', () => behind.destroy())
      behind.on('error', () => socket.destroy())
      socket.pipe(behind).pipe(socket)
    })
    const storePort = await freePort()
    await once(store.listen(storePort, '127.0.0.1'), 'listening')

    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
    const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' }
    keys = Bun.serve({ port: 0, hostname: '127.0.0.1', tls, fetch: () => Response.json({ keys: [jwk] }) })
    token = await new SignJWT({})
      .setSubject(newUser())
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setExpirationTime('5m')
      .sign(privateKey)

    env = {
      ...settingsFor(shared, `${postgres.url.replace('127.0.0.1', 'localhost')}?sslmode=verify-full`, bucket),
      S3_ENDPOINT: `https://localhost:${storePort}`,
      S3_PUBLIC_ENDPOINT: shared.s3.endpoint,
      REDIS_URL: `rediss://localhost:${redisPort}`,
      AUTH_JWKS_URL: `https://localhost:${keys.port}/jwks.json`,
    }
  }, 60_000)
  afterAll(async () => {
    await Promise.all(running.map((service) => service.stop()))
    store.close()
    await keys.stop(true)
    await Promise.all([removeBucket(bucket), folder.remove()])
  }, 30_000)

  test(`are used with ${CA_SETTING}`, async () => {
    const service = await startService({ runtime, env: { ...env, [CA_SETTING]: ca } })
    try {
      const { call } = createClient(service.baseUrl)
      await until(async () =>
        expect((await readiness(createClient(service.baseUrl))).body).toEqual({
          status: 'ready',
          database: 'ok',
          storage: 'ok',
          events: 'ok',
        }),
      )
      const content = await readCorpus('accept/rocket.jpg')
      const { headers, body } = multipart([{ name: 'file', filename: 'a.jpg', type: 'image/jpeg', content }])
      const authorization = `Bearer ${token}`
      await answered(201, await call('/media/upload', { method: 'POST', body, headers: { ...headers, authorization } }))
      const page = await answered(200, await call('/media', { headers: { authorization } }))
      expect(page).toMatchObject({ items: [{ mimeType: 'image/jpeg' }] })
    } finally {
      await service.kill()
    }
  }, 60_000)

  test('end the start without, in a sentence that names the setting', async () => {
    await expect(startService({ runtime, env })).rejects.toThrow(
      "DATABASE_URL: the server's certificate is not accepted; sslrootcert in the URL names the file of its CA",
    )
    const settings = { redisUrl: env.REDIS_URL, redisSentinels: undefined, rateLimitPerMinute: 0 }
    await expect(openBuses(settings, createRecordingLog().log, [])).rejects.toThrow(
      "REDIS_URL: the server's certificate is not accepted; NODE_EXTRA_CA_CERTS",
    )
  }, 60_000)
})
