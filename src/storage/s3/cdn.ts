/** Judges the CDN in front of the bucket: it must serve what is under public/, and nothing else. */

type Probe = {
  cdnBaseUrl: string
  /** Stored objects. */
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
    const answer = await fetch(`${cdnBaseUrl}/${key}`, { signal: within, redirect: 'manual' }).catch(() => null)
    await answer?.body?.cancel()
    return answer?.status ?? null
  }
  const [shown, hidden] = await Promise.all([ask(publicKey), ask(privateKey)])
  const wrong: string[] = []
  const unjudged: string[] = []
  if (shown !== null && CLOSED.has(shown))
    wrong.push(
      `CDN_BASE_URL: a public object is not served there (${shown}): public/ of the bucket is closed to the CDN`,
    )
  else if (shown !== 200)
    unjudged.push(
      `CDN_BASE_URL: not reachable from here (${shown ?? 'no answer'}): whether public/ is served is unknown`,
    )
  if (hidden === 200) wrong.push('CDN_BASE_URL: private originals under media/ can be read there by anybody')
  return { wrong, unjudged }
}

const CLOSED = new Set([401, 403, 404])
