import { describe, expect, test } from 'bun:test'
import { parseDatabaseUrl } from '../../src/db/url.ts'

const read = (url: string) => parseDatabaseUrl(url)
const tls = (query: string) => read(`postgres://h/d?${query}`).tls

describe('a database URL', () => {
  test('has hosts, ports, a user, a password and a database', () => {
    expect(read('postgres://me:pass@db.example.com:6432/media')).toMatchObject({
      hosts: [{ host: 'db.example.com', port: 6432 }],
      user: 'me',
      password: 'pass',
      database: 'media',
      session: {},
      tls: { mode: 'disable' },
    })
    expect(read('postgresql://db').hosts).toEqual([{ host: 'db', port: 5432 }])
    expect(read('postgres:///media')).toMatchObject({ hosts: [{ host: 'localhost', port: 5432 }], database: 'media' })
    expect(read('postgres://[::1]:5433/d').hosts).toEqual([{ host: '::1', port: 5433 }])
  })

  test('has names and passwords with any character, encoded or, where that is unmistakable, not', () => {
    expect(read('postgres://me%40tenant:p%40ss%2Fw%3A%25@h/my%20d%2Fb')).toMatchObject({
      user: 'me@tenant',
      password: 'p@ss/w:%',
      database: 'my d/b',
    })
    expect(read('postgres://media.abcdef:pa#s:s@w@h/d')).toMatchObject({ user: 'media.abcdef', password: 'pa#s:s@w' })
  })

  test('has several hosts', () => {
    const several = [
      { host: 'a', port: 5432 },
      { host: 'b', port: 5433 },
    ]
    expect(read('postgres://me:p@a,b:5433/d?target_session_attrs=read-write').hosts).toEqual(several)
    expect(read('postgres:///d?host=a,b&port=5432,5433&target_session_attrs=primary').hosts).toEqual(several)
    expect(() => read('postgres://a,b/d?target_session_attrs=standby')).toThrow('target_session_attrs: expected')
  })

  test('has a socket, as Cloud SQL writes it, too', () => {
    const socket = '/cloudsql/project:region:instance'
    for (const url of [
      `postgres://me:p@/d?host=${socket}`,
      `postgres:///d?user=me&password=p&host=${encodeURIComponent(socket)}`,
      `postgres://me:p@${encodeURIComponent(socket)}/d`,
    ])
      expect(read(url)).toMatchObject({
        hosts: [{ host: socket, port: 5432 }],
        user: 'me',
        password: 'p',
        database: 'd',
      })
  })

  test('asks for TLS as libpq understands it, and never for less', () => {
    expect(tls('sslmode=prefer').mode).toBe('prefer')
    expect(tls('sslmode=require').mode).toBe('require')
    expect(tls('sslmode=require&sslrootcert=/ca.pem')).toMatchObject({ mode: 'verify-ca', ca: '/ca.pem' })
    expect(tls('sslmode=verify-full&sslrootcert=/ca.pem')).toMatchObject({ mode: 'verify-full', ca: '/ca.pem' })
    expect(tls('sslmode=verify-full&sslrootcert=system')).toMatchObject({ mode: 'verify-full', ca: undefined })
    expect(tls('sslrootcert=/ca.pem').mode).toBe('verify-ca')
    expect(tls('ssl=true').mode).toBe('verify-full')
    expect(tls('sslmode=require&sslnegotiation=direct&sslcert=/c&sslkey=/k')).toMatchObject({
      direct: true,
      cert: '/c',
      key: '/k',
    })
    // As Neon writes it.
    expect(tls('sslmode=require&channel_binding=require').mode).toBe('verify-full')
    expect(tls('sslmode=require&channel_binding=prefer').mode).toBe('require')
    expect(() => tls('sslmode=always')).toThrow('sslmode: expected')
    expect(() => tls('sslmode=disable&channel_binding=require')).toThrow('channel_binding=require: expected')
    expect(() => tls('sslcrl=/crl.pem')).toThrow('sslcrl: expected none')
  })

  test('has parameters of Prisma and JDBC, of the session, and some that say nothing', () => {
    expect(read('postgres://h/d?pgbouncer=true&connection_limit=5&schema=media&pool_timeout=3')).toMatchObject({
      prepare: false,
      connections: 5,
      session: { search_path: 'media' },
    })
    expect(read('postgres://h/d?prepare=false').prepare).toBeFalse()
    expect(read('postgres://h/d').prepare).toBeUndefined()
    expect(read('postgres://h/d?options=-c%20work_mem%3D8MB&connect_timeout=10&application_name=x').session).toEqual({
      options: '-c work_mem=8MB',
    })
  })

  test('that is none is refused without its password', () => {
    for (const url of ['mysql://me:hunter2@h/d', 'postgres://me:hunter2@h:99999/d', 'postgres://me:hunter2%@h/d'])
      expect(() => read(url)).toThrow(/^(?!.*hunter2).*expected/)
  })
})
