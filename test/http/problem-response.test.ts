import { describe, expect, test } from 'bun:test'
import { Hono } from 'hono'
import { HttpProblem, problemResponse, statusOf, toProblem } from '../../src/http/request/problem-response.ts'
import { Problem, type ProblemCode, problemCodes } from '../../src/problem.ts'

// The contract with clients: a code never changes its status.
const published: Partial<Record<ProblemCode, number>> = {
  ...{ request_invalid: 400, multipart_malformed: 400, file_missing: 400, file_empty: 400, too_many_parts: 400 },
  ...{ token_missing: 401, token_invalid: 401, forbidden: 403, not_found: 404, method_not_allowed: 405 },
  ...{ upload_incomplete: 409, state_conflict: 409, idempotency_conflict: 409 },
  ...{ file_too_large: 413, body_too_large: 413, content_type_unsupported: 415, media_type_unsupported: 415 },
  ...{ image_unreadable: 422, image_too_large: 422, type_mismatch: 422, size_mismatch: 422, checksum_mismatch: 422 },
  ...{ checksum_unenforceable: 422, rate_limited: 429, quota_exceeded: 429, internal: 500 },
  ...{ overloaded: 503, storage_unavailable: 503, database_unavailable: 503, auth_unavailable: 503 },
}

async function answerTo(error: unknown): Promise<Response> {
  const app = new Hono()
  app.onError((thrown, c) => problemResponse(c, toProblem(thrown)))
  app.get('/', () => {
    throw error
  })
  return app.request('/')
}

test('every published code still has its status', () => {
  const codes = Object.keys(published) as ProblemCode[]
  expect(problemCodes).toEqual(expect.arrayContaining(codes))
  expect(Object.fromEntries(codes.map((code) => [code, statusOf(code)]))).toEqual(published)
})

describe('a problem', () => {
  test.each(problemCodes)('%s is answered as RFC 9457 says, with what its status asks for', async (code) => {
    const answer = await answerTo(new Problem(code, 'What happened.'))
    const status = statusOf(code)
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const body = await answer.json()
    expect(body).toEqual({
      type: expect.stringMatching(/^\w+:/),
      title: body.title,
      status,
      detail: 'What happened.',
      code,
    })
    expect(body.title).toMatch(/^[A-Z].{5,}[^.]$/)
    expect(answer.headers.has('www-authenticate')).toBe(status === 401)
    expect(answer.headers.has('retry-after')).toBe(status === 429 || status === 503)
  })

  test('lists every field that is wrong, and carries its own headers', async () => {
    const errors = [{ field: 'size', message: 'is not a number' }]
    const answer = await answerTo(new HttpProblem('request_invalid', 'Wrong.', { errors, headers: { allow: 'GET' } }))
    expect((await answer.json()).errors).toEqual(errors)
    expect(answer.headers.get('allow')).toBe('GET')
  })

  test('has the arguments of a call as fields, and says when to try again', async () => {
    const wrong = [
      { argument: 'size', message: 'is required' },
      { argument: 'partNumbers', index: 3, message: 'expected at most 2' },
    ]
    const answer = await answerTo(new Problem('state_conflict', 'Wrong.', { arguments: wrong, retryAfterSeconds: 9 }))
    expect((await answer.json()).errors).toEqual([
      { field: 'size', message: 'is required' },
      { field: 'partNumbers.3', message: 'expected at most 2' },
    ])
    expect(answer.headers.get('retry-after')).toBe('9')
  })

  test('names a bad token as the error only when there was one', async () => {
    const challenge = async (code: ProblemCode) =>
      (await answerTo(new Problem(code, ''))).headers.get('www-authenticate')
    expect(await challenge('token_missing')).toBe('Bearer realm="media"')
    expect(await challenge('token_invalid')).toBe('Bearer realm="media", error="invalid_token"')
  })

  test('with an internal cause exposes nothing of it', async () => {
    const secret = new Error('connect to postgres://media:hunter2@db failed')
    for (const error of [secret, new Problem('database_unavailable', 'Try again.', { cause: secret })]) {
      const text = await (await answerTo(error)).text()
      expect(text).not.toContain('hunter2')
      expect(text).not.toContain('problem-response.test')
    }
    expect((await answerTo(secret)).status).toBe(500)
  })
})
