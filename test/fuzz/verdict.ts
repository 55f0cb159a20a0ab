import { problemCodes } from '../../src/problem.ts'
import type { Answer, WireRequest } from './exchange.ts'
import { wire } from './exchange.ts'

// What Bun and Deno accept of a request line and its headers; beyond it the runtime may answer by itself.
const HEAD_BYTES = 8 * 1024

/** What is wrong with an answer, in a sentence; undefined when nothing is. */
export function faultOf(request: WireRequest, answer: Answer | 'closed'): string | undefined {
  if (answer === 'closed') return isSound(request) ? 'the connection ended without an answer' : undefined
  const { status, headers, body } = answer
  if (!(status >= 200 && status < 500)) return `answered ${status}: ${body}`
  // The HTTP parser's own refusal: the service has never seen the request.
  if (status >= 400 && !headers.has('x-request-id')) return isSound(request) ? `a bare ${status}` : undefined
  if (status >= 400) return problemFault(request, answer)
  if (headers.get('content-type')?.startsWith('application/json') && request.method !== 'HEAD') JSON.parse(body)
  return undefined
}

function problemFault({ method }: WireRequest, { status, headers, body }: Answer): string | undefined {
  if (method === 'HEAD') return undefined
  const type = headers.get('content-type')
  if (type !== 'application/problem+json') return `a ${status} of type ${type}: ${body}`
  const problem: { status?: unknown; code?: unknown } = JSON.parse(body)
  const known = problemCodes.some((code) => code === problem.code)
  if (problem.status !== status || !known) return `a ${status} that says ${body}`
  if (status === 401 && !headers.has('www-authenticate')) return '401 without WWW-Authenticate'
  if (status === 405 && !headers.has('allow')) return '405 without Allow'
  return undefined
}

/** Whether it is HTTP, whole, and within what a runtime accepts, so that the service itself has to answer it. */
function isSound(request: WireRequest): boolean {
  const { method, target, headers, framing } = request
  const values = headers.map(([, value]) => value)
  const hosts = headers.filter(([name]) => name === 'host')
  return (
    framing !== 'cut' &&
    /^[A-Z]+$/.test(method) &&
    /^\/[\x21-\x7e]*$/.test(target) &&
    values.every((value) => /^[\t\x20-\x7e]*$/.test(value)) &&
    hosts.every(([, value]) => /^[\w.]+(:\d{1,4})?$/.test(value)) &&
    wire({ ...request, body: new Uint8Array() }).length < HEAD_BYTES
  )
}
