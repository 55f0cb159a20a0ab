/** Judges the CDN in front of the bucket: it must serve what is under public/, and nothing else. */
import { type Finding, findingsAbout } from '../../finding.ts'
import { PROBE } from './probe-requests.ts'

type Probe = {
  cdnBaseUrl: string
  /** Stored objects of `PROBE`. */
  publicKey: string
  privateKey: string
  signal: AbortSignal
}

// A CDN that cannot be reached from inside a cluster must not cost the whole deadline.
const CDN_MS = 3000

export async function judgeCdn({ cdnBaseUrl, publicKey, privateKey, signal }: Probe): Promise<Finding[]> {
  const ask = async (key: string) => {
    const within = AbortSignal.any([signal, AbortSignal.timeout(CDN_MS)])
    return fetch(`${cdnBaseUrl}/${key}`, { signal: within, redirect: 'manual' })
      .then(read)
      .catch(() => null)
  }
  const [shown, hidden] = await Promise.all([ask(publicKey), ask(privateKey)])
  const findings: Finding[] = []
  if (shown !== null && CLOSED.has(shown.status)) findings.push(closed(shown.status))
  else if (!shown?.isProbe) findings.push(outOfReach(nameOf(shown)))
  if (hidden?.isProbe) findings.push(OPEN)
  return findings
}

const { wrong, unknown } = findingsAbout('cdn')
const closed = (status: number) =>
  wrong(
    'CDN_BASE_URL',
    `a public object is not served there (${status}): public/ of the bucket is closed to the CDN`,
    'let the CDN read public/, as the policy in docs/deploying.md does',
  )
const outOfReach = (why: string) =>
  unknown(
    'CDN_BASE_URL',
    `not reachable from here (${why}): whether public/ is served is unknown`,
    'look at it from where clients are',
  )
const OPEN = wrong(
  'CDN_BASE_URL',
  'private originals under media/ can be read there by anybody',
  'let the CDN read public/ alone, as the policy in docs/deploying.md does',
)

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
