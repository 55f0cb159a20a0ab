/** Large files through the service, many at once: what a gateway without limits of its own lets happen. */
import { newUser, tokenFor } from '../test/support/http/client.ts'
import { multipart } from '../test/support/http/multipart.ts'
import { jpegOf } from '../test/support/http/parts.ts'
import { openStage } from '../test/support/process/acceptance.ts'
import { MB, peakOf, resetPeak } from '../test/support/process/process-memory.ts'
import type { Figure } from './figure.ts'
import { openReference } from './reference.ts'

const SIZE = 50 * MB
const WARM_UP = { times: 10, size: MB }

export const sixDirect = direct(6, 300)
export const manyDirect = direct(64, 330)

function direct(count: number, mostMb: number): Figure {
  return {
    name: `${count} direct uploads of 50 MB at once, peak of the service`,
    mostMb,
    async measure() {
      const stage = await openStage({ MAX_UPLOAD_BYTES: String(SIZE) })
      const ours = await peakDuring(count, { ...stage, pid: stage.service.pid })
      const unclean = ours.answers.filter((answer) => answer !== '201' && answer !== '503 overloaded')
      if (unclean.length > 0) throw new Error(`neither stored nor refused cleanly: ${tally(unclean)}`)
      const theirs = await peakDuring(count, await openReference())
      return {
        bytes: ours.bytes,
        referenceBytes: theirs.bytes,
        note: `answers: ${tally(ours.answers)}; of the reference: ${tally(theirs.answers)}`,
      }
    },
  }
}

type Contestant = { baseUrl: string; pid: number; close(): Promise<void> }

/** The most it held while it got these uploads, and what it answered to each; then it is closed. */
async function peakDuring(
  count: number,
  { baseUrl, pid, close }: Contestant,
): Promise<{ bytes: number; answers: string[] }> {
  try {
    const small = await formOf(WARM_UP.size)
    for (let i = 0; i < WARM_UP.times; i++) await upload(baseUrl, small)
    const large = await formOf(SIZE)
    await resetPeak(pid)
    const answers = await Promise.all(Array.from({ length: count }, () => upload(baseUrl, large)))
    return { bytes: await peakOf(pid), answers }
  } finally {
    await close()
  }
}

type Form = { body: Blob; headers: Record<string, string> }

/** A Blob, so that all requests send the same bytes and this process holds them once. */
async function formOf(size: number): Promise<Form> {
  const content = await jpegOf(size)
  const { body, headers } = multipart([{ name: 'file', filename: 'a.jpg', type: 'image/jpeg', content }])
  return { body: new Blob([body]), headers }
}

/** The status of the answer, with its problem code; what went wrong when there was none. */
async function upload(baseUrl: string, { body, headers }: Form): Promise<string> {
  const authorization = `Bearer ${await tokenFor(newUser())}`
  try {
    const answer = await fetch(`${baseUrl}/media/upload`, {
      method: 'POST',
      body,
      headers: { ...headers, authorization },
    })
    const { code }: { code?: string } = await answer.json()
    return code === undefined ? String(answer.status) : `${answer.status} ${code}`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function tally(answers: string[]): string {
  const counts = new Map<string, number>()
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1)
  return [...counts].map(([answer, count]) => `${count} × ${answer}`).join(', ')
}
