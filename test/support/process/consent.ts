import { inCi } from './ci.ts'

/** Whether a person sits at a terminal and can be asked; CI and scripts can't. */
export function canBeAsked(terminal = process.stdin.isTTY === true, ci = inCi()): boolean {
  return terminal && !ci
}

/**
 * Whether the missing programs may be installed. A person is asked once, for all of them; without a person they are
 * installed, as CI and a container need it.
 * @param ask shows the question and returns the answer, null at the end of the input
 */
export function mayInstall(
  missing: string[],
  options: { person: boolean; ask: (question: string) => string | null },
): boolean {
  if (missing.length === 0 || !options.person) return true
  const question = `setup: install ${missing.join(', ')} on this machine (system packages, as root)? [y/N]`
  return /^\s*y(es)?\s*$/i.test(options.ask(question) ?? '')
}
