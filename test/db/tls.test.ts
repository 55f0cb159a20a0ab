import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { openDatabase } from '../../src/boot/database.ts'
import { connect, within } from '../../src/db/connect.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { createCertificates, haveOpenssl } from '../support/services/certificates.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import type { ServiceControl } from '../support/services/native.ts'
import { findPostgres, startPostgres } from '../support/services/postgres.ts'
import { withoutServices } from '../support/services/services.ts'

const present = !withoutServices() && findPostgres() !== undefined && haveOpenssl()

describe.skipIf(!present)('a Postgres with a certificate by a private CA', () => {
  let folder: Folder
  let server: ServiceControl
  let ca: string
  let otherCa: string
  beforeAll(async () => {
    folder = await createFolder()
    // Its name is not that of the server's address.
    const own = await createCertificates(folder.path, { hosts: 'DNS:localhost' })
    ca = own.ca
    otherCa = (await createCertificates(folder.path, { name: 'other' })).ca
    server = await startPostgres(folder.path, { tls: own.server })
  }, 60_000)
  afterAll(async () => {
    await server.stop()
    await folder.remove()
  }, 30_000)

  const urlOf = (query: string, host: string) => `${server.url.replace('127.0.0.1', host)}?${query}`

  const accepted: [query: string, host: string][] = [
    ['sslmode=prefer', '127.0.0.1'],
    ['sslmode=require', '127.0.0.1'],
    ['sslmode=verify-ca&sslrootcert=CA', '127.0.0.1'],
    ['sslmode=require&sslrootcert=CA', '127.0.0.1'],
    ['sslmode=verify-full&sslrootcert=CA', 'localhost'],
    ['sslmode=require&channel_binding=require&sslrootcert=CA', 'localhost'],
    ['sslmode=verify-full&sslrootcert=CA&target_session_attrs=read-write', 'localhost:PORT,127.0.0.1'],
  ]
  test.each(accepted)('is used, encrypted, with %s at %s', async (query, host) => {
    const sql = connect({ url: urlOf(query.replace('CA', ca), host.replace('PORT', new URL(server.url).port)) })
    const [row] = await within(sql`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`)
    expect(row).toEqual({ ssl: true })
    await sql.end({ timeout: 1 })
  })

  const refused: [query: string, host: string][] = [
    ['sslmode=verify-full&sslrootcert=CA', '127.0.0.1'],
    ['sslmode=verify-ca&sslrootcert=OTHER', '127.0.0.1'],
    ['sslmode=verify-full', 'localhost'],
    ['sslmode=require&channel_binding=require', 'localhost'],
  ]
  test.each(refused)('is refused at once with %s at %s', async (query, host) => {
    const databaseUrl = urlOf(query.replace('CA', ca).replace('OTHER', otherCa), host)
    const begun = performance.now()
    const settings = { databaseUrl, migrate: true, databaseConnections: undefined, preparedStatements: undefined }
    const opening = openDatabase(settings, () => expect.unreachable(), createRecordingLog().log)
    await expect(opening).rejects.toThrow("DATABASE_URL: the server's certificate is not accepted")
    expect(performance.now() - begun).toBeLessThan(10_000)
  })

  test('is refused with a file that is not there', async () => {
    const databaseUrl = urlOf('sslmode=verify-ca&sslrootcert=/none.pem', 'localhost')
    const settings = { databaseUrl, migrate: true, databaseConnections: undefined, preparedStatements: undefined }
    const opening = openDatabase(settings, () => expect.unreachable(), createRecordingLog().log)
    await expect(opening).rejects.toThrow('DATABASE_URL: sslrootcert: the file /none.pem cannot be read')
  })
})
