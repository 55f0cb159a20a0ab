/** Names of the environment that are hardly meant otherwise than as a setting, but are none. */
import { type Finding, findingsAbout } from '../finding.ts'
import { settings } from './settings.ts'

const NAMES: readonly string[] = Object.keys(settings)

/** One finding for each name that is almost the name of a setting that is not set. */
export function nearMisses(env: Record<string, string | undefined>): Finding[] {
  const unset = NAMES.filter((name) => !env[name])
  return Object.keys(env)
    .filter((name) => env[name] && !NAMES.includes(name))
    .flatMap((name) => {
      const meant = unset.find((setting) => isNear(name, setting))
      if (meant === undefined) return []
      return findingsAbout('settings').warning(name, 'is not a setting and does nothing', `${meant} may be meant`)
    })
}

/** One mistake, or two in a long name: HOME is not HOST. */
function isNear(name: string, setting: string): boolean {
  const [one, other] = [name, setting].map((text) => text.toUpperCase().replaceAll(/[^A-Z0-9]/g, ''))
  if (one === undefined || other === undefined || Math.abs(one.length - other.length) > 2) return false
  return distance(one, other) <= (other.length >= 9 ? 2 : other.length >= 6 ? 1 : 0)
}

/** Levenshtein's: how many letters have to be put in, taken out or changed. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i)
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1]
    for (const [j, wanted] of [...other].entries())
      next.push(Math.min((row[j] ?? 0) + (letter === wanted ? 0 : 1), (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    row = next
  }
  return row.at(-1) ?? 0
}
