/** Judges the CDN in front of the bucket: it must serve what is under public/, and nothing else. */
import { PROBE } from './probe-requests.ts'

type Probe = {
  cdnBaseUrl: string
  /** Stored objects of `PROBE`. */
  publicKey: string
  privateKey: string
  signal: AbortSignal
}

/** `wrong`: one sentence for each fault. `unjudged`: why nothing can be said from here, if so. */
export type CdnFindings = { wrong: string[]; unjudged: string[] }

// A CDN that cannot be reached from inside a cluster must not cost the whole deadline.
const CDN_MS = 3000

export async function judgeCdn({ cdnBaseUrl, publicKey, privateKey, signal }: Probe): Promise<CdnFindings> {
  const ask = async (key: string) => {
    const within = AbortSignal.any([signal, AbortSignal.timeout(CDN_MS)])
    return fetch(`${cdnBaseUrl}/${key}`, { signal: within, redirect: 'manual' })
      .then(read)
      .catch(() => null)
  }
  const [shown, hidden] = await Promise.all([ask(publicKey), ask(privateKey)])
  const wrong: string[] = []
  const unjudged: string[] = []
  if (shown !== null && CLOSED.has(shown.status))
    wrong.push(
      `CDN_BASE_URL: a public object is not served there (${shown.status}): public/ of the bucket is closed to the CDN`,
    )
  else if (!shown?.isProbe)
    unjudged.push(`CDN_BASE_URL: not reachable from here (${nameOf(shown)}): whether public/ is served is unknown`)
  if (hidden?.isProbe) wrong.push('CDN_BASE_URL: private originals under media/ can be read there by anybody')
  return { wrong, unjudged }
}

type Answer = { status: number; isProbe: boolean }

/** Some CDNs answer 200 with a page of their own for what they do not have, so the bytes decide. */
async function read(answer: Response): Promise<Answer> {
  const { status } = answer
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of answer.body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > PROBE.length) break
  }
  return { status, isProbe: status === 200 && text === PROBE }
}

function nameOf(answer: Answer | null): string {
  if (answer === null) return 'no answer'
  return answer.status === 200 ? 'another body' : String(answer.status)
}

const CLOSED = new Set([401, 403, 404])
