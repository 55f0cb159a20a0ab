/** Looks at the store as the start does, and from a browser's place. */

import { deadline } from '../deadline.ts'
import { type Finding, findingsAbout } from '../finding.ts'
import { Problem } from '../problem.ts'
import { prepareBucket } from '../storage/s3/bucket.ts'
import { endpointOf } from '../storage/s3/client.ts'
import { allowOrigins, findObstacles } from '../storage/s3/cors.ts'
import type { FoundTraits } from '../storage/s3/probe.ts'
import type { S3Settings } from '../storage/s3/settings.ts'
import { isFar } from './clocks.ts'
import { type Examined, findingsOf, readClock } from './set-up.ts'

type Settings = {
  cdnBaseUrl: string | undefined
  /** Of pages that upload. */
  origins: readonly string[]
}

const CLOCK_MS = 3000

/** @param fix whether the bucket's CORS may be set */
export async function examineStore(
  s3: S3Settings,
  { cdnBaseUrl, origins }: Settings,
  { now, fix }: { now: () => number; fix: boolean },
): Promise<Examined> {
  const clock = await readClock({ setting: 'S3_ENDPOINT', name: 'the store' }, now, () => timeAt(endpointOf(s3)))
  const findings = await findingsOf(async () => {
    try {
      const traits = await prepareBucket(s3, { cdnBaseUrl })
      // Links would be refused for the clocks, which are found wrong already.
      return isFar(clock) ? traits.findings : [...traits.findings, ...(await fromBrowsers(traits))]
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      return [SILENT]
    }
  })
  return {
    name: 'store',
    findings: isFar(clock) ? findings.filter((finding) => !isOfClocks(finding)) : findings,
    clock,
  }

  async function fromBrowsers(traits: FoundTraits): Promise<Finding[]> {
    const look = () => findObstacles(s3, traits, origins)
    const found = await look()
    if (!fix || !found.some(({ setting }) => setting === 'CORS_ORIGINS')) return found
    const refused = await allowOrigins(s3, origins)
    if (refused === undefined) return look()
    const remedy = `the store did not take CORS by bucket (${refused}): set it at the store, as docs/deploying.md says`
    return found.map((finding) => (finding.setting === 'CORS_ORIGINS' ? { ...finding, remedy } : finding))
  }
}

function isOfClocks({ problem }: Finding): boolean {
  return problem.includes('RequestTimeTooSkewed')
}

/** By the header Date of an answer, which has whole seconds: in the middle of its second. */
async function timeAt(endpoint: string): Promise<number | undefined> {
  const answer = await fetch(endpoint, { signal: deadline(CLOCK_MS) }).catch(() => null)
  await answer?.body?.cancel()
  const time = Date.parse(answer?.headers.get('date') ?? '')
  return Number.isNaN(time) ? undefined : time + 500
}

const SILENT = findingsAbout('store').wrong(
  'S3_ENDPOINT',
  'the store does not answer as it should',
  'start it, or correct its URL',
)
