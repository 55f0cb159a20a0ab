import { expect } from 'bun:test'
import { SignJWT } from 'jose'
import type { MediaObject, MediaPage, Presigned } from '../../../src/client/types.ts'
import { readCorpus } from '../pictures/corpus.ts'
import { multipart, type Part } from './multipart.ts'

export const JWT_SECRET = 'the secret of the acceptance tests that is long enough'

export type { MediaObject, MediaPage as Page, Presigned, SignedMediaObject } from '../../../src/client/types.ts'
export type ProblemBody = {
  ids?: string[]
  type: string
  title: string
  status: number
  detail: string
  code: string
  errors?: { field: string; message: string }[]
  id?: string
}

export type Call = {
  /** A user's id; a fresh token is made for it. */
  as?: string
  method?: string
  /** Sent as the JSON body. */
  json?: unknown
  body?: BodyInit
  headers?: Record<string, string>
}

export type Client = ReturnType<typeof createClient>

/** The service as a well-behaved client calls it. */
export function createClient(baseUrl: string) {
  async function call(path: string, { as, method, json, body, headers }: Call = {}): Promise<Response> {
    const sent = json === undefined ? body : JSON.stringify(json)
    return fetch(baseUrl + path, {
      method: method ?? 'GET',
      redirect: 'manual',
      headers: {
        ...(as !== undefined && { authorization: `Bearer ${await tokenFor(as)}` }),
        ...(json !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(sent !== undefined && { body: sent }),
    })
  }

  /** Sends the parts as they are. */
  async function sendParts(as: string, parts: Part[]): Promise<Response> {
    return call('/media/upload', { as, method: 'POST', ...multipart(parts) })
  }

  /** Uploads a file of the corpus, or any bytes, under whatever name and type. */
  async function upload(
    as: string,
    content: string | Uint8Array<ArrayBuffer>,
    options: { name?: string; type?: string; fields?: Record<string, string> } = {},
  ): Promise<Response> {
    const { name = 'picture.jpg', type = 'image/jpeg', fields = {} } = options
    const bytes = typeof content === 'string' ? await readCorpus(content) : content
    const others = Object.entries(fields).map(([field, value]) => ({ name: field, content: value }))
    return sendParts(as, [...others, { name: 'file', filename: name, type, content: bytes }])
  }

  async function presign(as: string, json: Record<string, unknown>): Promise<Response> {
    return call('/media/presign', { as, method: 'POST', json })
  }

  return {
    baseUrl,
    call,
    sendParts,
    upload,
    presign,

    /** An object that was uploaded for this user: the corpus' rocket unless another file is named. */
    async uploaded(as: string, file = 'accept/rocket.jpg', fields: Record<string, string> = {}): Promise<MediaObject> {
      return answered<MediaObject>(201, await upload(as, file, { fields }))
    },

    /** A link for this user to upload what is declared. */
    async presigned(as: string, declared: Record<string, unknown> = {}): Promise<Presigned> {
      return answered<Presigned>(200, await presign(as, { filename: 'a.jpg', fileType: 'image/jpeg', ...declared }))
    },

    /** Sends bytes to a link as its answer says, with headers changed, or left out where null. */
    async put(
      link: Presigned,
      bytes: Uint8Array<ArrayBuffer>,
      changed: Record<string, string | null> = {},
    ): Promise<Response> {
      const headers = new Headers(link.headers)
      for (const [name, value] of Object.entries(changed))
        value === null ? headers.delete(name) : headers.set(name, value)
      return fetch(link.uploadUrl, { method: link.method, headers, body: bytes })
    },

    async complete(as: string, id: string): Promise<Response> {
      return call(`/media/${id}/complete`, { as, method: 'POST' })
    },

    async get(as: string, id: string): Promise<Response> {
      return call(`/media/${id}`, { as })
    },

    async remove(as: string, id: string): Promise<Response> {
      return call(`/media/${id}`, { as, method: 'DELETE' })
    },

    async restore(as: string, id: string): Promise<Response> {
      return call(`/media/${id}/restore`, { as, method: 'POST' })
    },

    async patch(as: string, id: string, json: Record<string, unknown>): Promise<Response> {
      return call(`/media/${id}`, { as, method: 'PATCH', json })
    },

    /** A page of this user's objects; `query` as in `?limit=2`. */
    async page(as: string, query = ''): Promise<MediaPage> {
      return answered<MediaPage>(200, await call(`/media${query}`, { as }))
    },
  }
}

/** An HS256 token of a user, good for five minutes; `claims` come on top. */
export function tokenFor(userId: string, claims: Record<string, unknown> = {}, secret = JWT_SECRET): Promise<string> {
  return new SignJWT({ sub: userId, exp: Math.floor(Date.now() / 1000) + 300, ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuedAt()
    .sign(new TextEncoder().encode(secret))
}

/** Somebody nobody has seen before. */
export function newUser(): string {
  return crypto.randomUUID()
}

/** The JSON of an answer that has this status; anything else fails the test and shows the answer. */
export async function answered<T>(status: number, response: Response): Promise<T> {
  const text = await response.text()
  if (response.status !== status) throw new Error(`expected ${status}, got ${response.status}: ${text}`)
  expect(response.headers.get('content-type')).toStartWith('application/json')
  return JSON.parse(text)
}

/** Checks that an answer is this problem, in the shape of RFC 9457 and with the headers its status asks for. */
export async function expectProblem(response: Response, status: number, code: string): Promise<ProblemBody> {
  const text = await response.text()
  expect([response.status, text]).toEqual([status, expect.stringContaining(`"code":"${code}"`)])
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  expect(response.headers.get('x-request-id')).toBeTruthy()
  if (status === 401) expect(response.headers.get('www-authenticate')).toStartWith('Bearer')
  if (status === 405) expect(response.headers.get('allow')).toBeTruthy()
  if (status === 429 || status === 503) expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
  const problem: ProblemBody = JSON.parse(text)
  const { errors, id, ids, ...body } = problem
  expect(body).toEqual({
    type: expect.stringContaining(code),
    title: expect.stringMatching(/\S/),
    status,
    detail: expect.stringMatching(/\S/),
    code,
  })
  if (id !== undefined) expect([code, id]).toEqual(['state_conflict', expect.stringMatching(/^[0-9a-f-]{36}$/)])
  for (const error of errors ?? []) expect(error).toEqual({ field: expect.any(String), message: expect.any(String) })
  return problem
}

/** Checks that an answer is `request_invalid` and that its `errors` name exactly these fields. */
export async function expectInvalid(response: Response, ...fields: string[]): Promise<void> {
  const { errors = [] } = await expectProblem(response, 400, 'request_invalid')
  expect([...new Set(errors.map(({ field }) => field))].sort()).toEqual(fields.sort())
}

/** Checks that an answer is 200 with exactly these bytes, without printing them. */
export async function expectBytes(response: Response, bytes: Uint8Array): Promise<void> {
  const got = Buffer.from(await response.arrayBuffer())
  expect([response.status, got.length]).toEqual([200, bytes.length])
  expect(got.equals(bytes)).toBe(true)
}

/** Tries until it does not throw; the last error when the time is over. */
export async function until<T>(attempt: () => T | Promise<T>, milliseconds = 10_000): Promise<T> {
  const end = Date.now() + milliseconds
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() > end) throw error
      await Bun.sleep(20)
    }
  }
}
