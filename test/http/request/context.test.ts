import { expect, test } from 'bun:test'
import { Hono } from 'hono'
import { originOf } from '../../../src/http/request/context.ts'

const ORIGINS = ['http://one.test', 'http://two.test', 'http://two.test:8080', 'https://two.test', 'http://[::1]:3000']

test('requests that come by different names in turns each get the origin of their own', async () => {
  const app = new Hono().get('*', (c) => c.text(originOf(c, undefined)))
  for (const origin of [...ORIGINS, ...ORIGINS.toReversed(), ...ORIGINS]) {
    for (const path of ['', '/', '/media?at=http://three.test/', '?x=/y'])
      expect(await (await app.fetch(new Request(origin + path))).text()).toBe(origin)
  }
})

test('the configured origin is for all of them', async () => {
  const app = new Hono().get('*', (c) => c.text(originOf(c, 'https://media.test')))
  expect(await (await app.fetch(new Request('http://one.test/'))).text()).toBe('https://media.test')
})
