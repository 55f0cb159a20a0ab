import { setTimeout as sleep } from 'node:timers/promises'
import { tokenFor } from '../support/http/client.ts'
import type { Random } from './random.ts'

/** `unsure`: an attempt before this answer may have had its effect, too. */
export type Answer = { status: number; body: Record<string, unknown>; unsure: boolean }

export type PatientClient = {
  /** Calls one replica or another until one gives an answer that is final; null when the time is over or it hung up. */
  call(as: string, path: string, init: RequestInit): Promise<Answer | null>
  /** Sends bytes over a link until the store gives an answer that is final. */
  put(url: string, init: RequestInit): Promise<Answer | null>
  /** Calls one replica once, without credentials; null when it broke off. */
  look(path: string): Promise<Answer | null>
  /** Answers that no client should ever get. */
  readonly wrong: string[]
}

const ATTEMPT_MS = 25_000
// Less patient than Retry-After asks for: harder on the service, and more is tried in the same time.
const LONGEST_PAUSE_MS = 700

/**
 * A client as good ones are: what broke off or was answered with 503 is tried again, what was refused is not.
 * @param giveUpAt when it stops trying, in Unix milliseconds; asked again before each attempt
 */
export function createPatientClient(baseUrls: readonly [string, ...string[]], random: Random, giveUpAt: () => number) {
  const wrong: string[] = []

  async function persist({ signal }: RequestInit, attempt: () => Promise<Response>): Promise<Answer | null> {
    let unsure = false
    for (let tries = 0; Date.now() < giveUpAt() && !signal?.aborted; tries++) {
      let pause = Math.min(50 * 2 ** tries, LONGEST_PAUSE_MS)
      try {
        const response = await attempt()
        const text = await response.text()
        const body = readJson(text)
        if (response.status === 500) wrong.push(`500 ${text}`)
        const again = response.status >= 500 || body.code === 'state_conflict'
        if (!again) return { status: response.status, body, unsure }
        if (response.status === 503 && body.code !== undefined && !response.headers.has('retry-after'))
          wrong.push(`503 without Retry-After: ${text}`)
        pause = Math.min(Number(response.headers.get('retry-after') ?? 1) * 1000, LONGEST_PAUSE_MS)
      } catch {
        // Refused, reset, or no answer in time.
      }
      unsure = true
      await sleep(pause * (0.5 + random.next() / 2))
    }
    return null
  }

  const client: PatientClient = {
    wrong,
    call: (as, path, init) =>
      persist(init, async () => {
        const headers = new Headers(init.headers)
        headers.set('authorization', `Bearer ${await tokenFor(as)}`)
        return fetch(random.pick(baseUrls) + path, { ...init, headers, signal: attemptSignal(init) })
      }),
    async look(path) {
      try {
        const response = await fetch(random.pick(baseUrls) + path, { redirect: 'manual', signal: attemptSignal({}) })
        const body = readJson(await response.text())
        if (response.status === 500) wrong.push(`500 ${JSON.stringify(body)}`)
        return { status: response.status, body, unsure: false }
      } catch {
        return null
      }
    },
    put: (url, init) => persist(init, () => fetch(url, { ...init, signal: attemptSignal(init) })),
  }
  return client
}

function attemptSignal({ signal }: RequestInit): AbortSignal {
  const timeout = AbortSignal.timeout(ATTEMPT_MS)
  return signal ? AbortSignal.any([signal, timeout]) : timeout
}

/** The store answers in XML, and with nothing where it is content. */
function readJson(text: string): Record<string, unknown> {
  return text.startsWith('{') ? JSON.parse(text) : {}
}
