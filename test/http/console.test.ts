import { expect, test } from 'bun:test'
import { OpenAPIHono } from '@hono/zod-openapi'
import { type ConsoleDeps, consoleRoutes } from '../../src/http/pages/console.ts'

const other = {
  developmentToken: undefined,
  publicBaseUrl: undefined,
  cdnBaseUrl: undefined,
  allowedTypes: new Set(['image/jpeg']),
  maxObjectBytes: 1,
  retentionSeconds: 1,
  identify: async () => null,
}

type Parts = 'none' | 'plain' | 'with their MD5'

test.each<[name: string, parts: Parts, uploads: string]>([
  ['s3', 'plain', 's3'],
  // Uppy names no MD5, and such a store refuses its parts.
  ['s3', 'with their MD5', 'tus'],
  ['s3', 'none', 's3'],
  ['disk', 'none', 'tus'],
])('on a store %s that takes parts %s the console uploads by %s', async (name, parts, uploads) => {
  const multipart = parts === 'none' ? undefined : { needsMd5: parts !== 'plain' }
  const app = new OpenAPIHono()
  const storage = { name, signGet: () => expect.unreachable(), ...(multipart && { multipart }) }
  consoleRoutes(app, { ...other, storage: storage as unknown as ConsoleDeps['storage'] })
  const answer = await app.request('/console/session', { method: 'POST' })
  expect(await answer.json()).toMatchObject({ token: null, uploads })
})
