/** Storage usage and quota of the caller. */
import { useEffect, useState } from 'preact/hooks'
import type { Api, Usage } from './api.ts'
import { formatBytes, formatCount } from './format.ts'

// Debounces bursts of changes.
const CALM_MS = 1000

export function UsageLine({ api, onChange }: { api: Api; onChange: (listener: () => void) => () => void }) {
  const [usage, setUsage] = useState<Usage | null>(null)
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    // A failed request is repeated after the next change.
    const ask = () => api.usage().then(setUsage, () => {})
    void ask()
    const end = onChange(() => {
      clearTimeout(timer)
      timer = setTimeout(ask, CALM_MS)
    })
    return () => {
      clearTimeout(timer)
      end()
    }
  }, [api, onChange])
  if (usage === null) return <p class="usage" />
  const of = (used: string, limit: string | null) => (limit === null ? used : `${used} of ${limit}`)
  const { bytes, objects, quotaBytes, quotaObjects } = usage
  const files = of(formatCount(objects), quotaObjects === null ? null : formatCount(quotaObjects))
  return (
    <p class="usage">
      {files} {objects === 1 && quotaObjects === null ? 'file' : 'files'}
      <span aria-hidden="true"> · </span>
      {of(formatBytes(bytes), quotaBytes === null ? null : formatBytes(quotaBytes))}
    </p>
  )
}
