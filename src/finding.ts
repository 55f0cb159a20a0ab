/** What is wrong with a set-up, as data: found by the checks that the start of the service and `bun run doctor` share. */

export type Finding = {
  subject: Subject
  /** The setting to look at. */
  setting: string
  problem: string
  remedy: string
  /**
   * `wrong`: the service does not work, or not safely, so that it does not start in production. `warning`: something is
   * missing. `unknown`: it cannot be found out from here, because something is not reachable.
   */
  severity: 'wrong' | 'warning' | 'unknown'
}

export type Subject = 'settings' | 'database' | 'store' | 'cdn' | 'redis' | 'auth' | 'clock' | 'gateway' | 'backup'

/** One sentence for the operator. */
export function sentenceOf({ setting, problem, remedy }: Finding): string {
  return `${setting}: ${problem}; ${remedy}`
}

/** A set-up that the service cannot work with, whose message is the sentence of the finding. Trying again does not help. */
export class SetupError extends Error {
  override readonly name: string = 'SetupError'
  readonly findings: readonly Finding[]

  constructor(findings: readonly Finding[], options?: ErrorOptions) {
    super(findings.map(sentenceOf).join('\n'), options)
    this.findings = findings
  }
}

/** A maker of findings about one subject. */
export function findingsAbout(subject: Subject) {
  const finding = (severity: Finding['severity']) => (setting: string, problem: string, remedy: string) => ({
    ...{ subject, setting, problem, remedy, severity },
  })
  return { wrong: finding('wrong'), warning: finding('warning'), unknown: finding('unknown') }
}
