/** Looks at how old the last backup is: when its marker, a file or a URL, was written. */
import { stat } from 'node:fs/promises'
import { deadline } from '../deadline.ts'
import { type Finding, findingsAbout } from '../finding.ts'
import type { Examined } from './set-up.ts'

const FETCH_MS = 5000
const { warning, unknown } = findingsAbout('backup')
const SETTING = 'BACKUP_MARKER'

/** Undefined when no setting says where the marker is. */
export async function examineBackup(
  { marker, maxAgeSeconds }: { marker: string | undefined; maxAgeSeconds: number },
  now: () => number,
): Promise<Examined | undefined> {
  if (marker === undefined) return undefined
  const written = /^https?:\/\//.test(marker) ? await lastModified(marker) : await modifiedAt(marker)
  const findings = typeof written === 'number' ? judge(written, maxAgeSeconds, now()) : [written]
  return { name: 'backup', findings }
}

function judge(written: number, maxAgeSeconds: number, now: number): Finding[] {
  const seconds = Math.round((now - written) / 1000)
  if (seconds <= maxAgeSeconds) return []
  const problem = `the last backup ended ${hours(seconds)} ago; BACKUP_MAX_AGE_SECONDS allows ${hours(maxAgeSeconds)}`
  return [warning(SETTING, problem, 'look at why the backup does not run')]
}

function hours(seconds: number): string {
  return `${Math.floor(seconds / 3600)} h`
}

/** Unix time in milliseconds. */
async function modifiedAt(path: string): Promise<number | Finding> {
  try {
    return (await stat(path)).mtimeMs
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    return missing
      ? warning(SETTING, `there is no ${path}, so no backup has ended`, 'have each backup write it when it has ended')
      : unknown(SETTING, `${path} cannot be read here`, 'run the doctor as a user that may read it')
  }
}

async function lastModified(url: string): Promise<number | Finding> {
  const answer = await fetch(url, { method: 'HEAD', signal: deadline(FETCH_MS) }).catch(() => null)
  await answer?.body?.cancel()
  if (answer === null || answer.status >= 500)
    return unknown(SETTING, 'its URL is not reachable from here', 'run the doctor where it is')
  const time = Date.parse(answer.headers.get('last-modified') ?? '')
  if (answer.ok && !Number.isNaN(time)) return time
  return warning(
    SETTING,
    answer.ok ? 'its URL does not say when it was written' : `its URL answers ${answer.status}, so no backup has ended`,
    'have each backup write it when it has ended, at a URL with Last-Modified',
  )
}
