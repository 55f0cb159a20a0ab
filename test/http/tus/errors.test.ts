import { expect, test } from 'bun:test'
import { byHeaders } from '../../../src/http/tus/errors.ts'
import { sizeRequired } from '../../../src/media/object/quota.ts'
import { notFound } from '../../../src/problem.ts'
import { refusal } from '../../support/http/refusal.ts'

test('an argument that a tus request got wrong is told as the header that it came in', async () => {
  const refused = await refusal(byHeaders(() => Promise.reject(sizeRequired())))
  const errors = [{ field: 'upload-length', message: 'is required, because there are quotas' }]
  expect(refused).toMatchObject({ code: 'request_invalid', kind: 'invalid-request', errors })
  const missing = notFound()
  expect(await refusal(byHeaders(() => Promise.reject(missing)))).toBe(missing)
  expect(await byHeaders(async () => 1)).toBe(1)
})
