/** Says in one sentence why a database cannot be used, and whether trying again may help. */
import { CA_VARIABLES, isCertificateError } from '../certificate.ts'
import { type Finding, findingsAbout, SetupError } from '../finding.ts'
import { isReadOnly, sqlStateOf } from './errors.ts'
import type { DatabaseServer } from './url.ts'

export type Refusal = { finding: Finding; permanent: boolean }

export function refusalOf(error: unknown, { hosts, user, database }: DatabaseServer): Refusal {
  const [told] = error instanceof SetupError ? error.findings : []
  if (told !== undefined) return { finding: told, permanent: true }
  const message = error instanceof Error ? error.message : String(error)
  const names = { user: user ?? '', database: database ?? user ?? '' }
  const known = permanentReason(sqlStateOf(error) ?? '', message, names)
  if (known !== undefined) return { finding: wrong('DATABASE_URL', ...known), permanent: true }
  if (isCertificateError(error)) return { finding: UNTRUSTED, permanent: true }
  if (isReadOnly(error)) return { finding: STANDBY, permanent: false }
  const where = hosts.map(({ host, port }) => `${host}:${port}`).join(', ')
  const noTls = message.includes('before secure TLS connection') ? '; it may offer no TLS, which sslmode asks for' : ''
  return {
    finding: wrong(
      'DATABASE_URL',
      `the database at ${where} does not answer as it should${noTls}`,
      'start it, or correct its host and port',
    ),
    permanent: false,
  }
}

type Reason = [problem: string, remedy: string]

/** What the server refuses however often it is asked. */
function permanentReason(state: string, message: string, names: { user: string; database: string }) {
  const { user, database } = names
  // PgBouncer says all of this with one SQLSTATE, which it also uses for outages.
  const told = state === '08P01' ? message : ''
  if (
    /^28/.test(state) ||
    /auth failed|no such user|password authentication failed/i.test(told) ||
    message.includes('SASL_SIGNATURE_MISMATCH')
  )
    return [`the database does not let the user "${user}" in`, 'the password may be wrong'] satisfies Reason
  if (state === '3D000' || /no such database/i.test(told))
    return [`there is no database "${database}"`, 'create it, or correct its name'] satisfies Reason
  if (state === '42501') return [`the user "${user}" lacks a right`, 'grant it'] satisfies Reason
  if (state === '3F000')
    return ['the schema does not exist, or the user may not use it', 'create it, or grant USAGE on it'] satisfies Reason
  if (/^(42704|22023|55P02|42602)$/.test(state) || /unsupported startup parameter/i.test(told))
    return ['the server refuses a parameter of the connection', 'take it out of the URL'] satisfies Reason
  return undefined
}

const { wrong } = findingsAbout('database')
const UNTRUSTED = wrong(
  'DATABASE_URL',
  "the server's certificate is not accepted",
  `sslrootcert in the URL names the file of its CA, or ${CA_VARIABLES} does`,
)
export const STANDBY = wrong('DATABASE_URL', 'the database takes no changes, as a standby', 'name the primary')
