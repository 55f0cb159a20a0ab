/** User ids, which are UUIDs, and the mapping of other names to them. */
import { v5 } from 'uuid'

export type UserIds = {
  /** Whether names that are no UUIDs are mapped to UUIDs. */
  readonly mapsNames: boolean
  /** What every user id of a parameter matches (JSON Schema); null where names are mapped. */
  readonly pattern: string | null
  /**
   * The id of a user as an identity provider names them in a token's `sub`; null when the name is not one. A UUID of
   * version 5 is a name like any other where names are mapped: else somebody could take the id that another user's name
   * is mapped to as their own name.
   */
  ofSubject(subject: string): string | null
  /** The same of a gateway's header, which holds UTF-8. */
  ofHeader(value: string): string | null
  /** The id of a user as a service names them in a parameter: any UUID stands for itself. */
  ofParameter(user: string): string | null
}

// Of any version and variant: Cognito's are of neither that RFC 9562 knows.
const UUID = /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/
// Every id that `v5` makes has this form.
const VERSION_5 = /^.{14}5.{4}[89ab]/
const LONGEST_NAME = 255
// A header loses the blanks around its value, so that a name with blanks would be another user's there.
const NAME = /^(?!\s).*(?<!\s)$/su
const CONTROL = /\p{Cc}/u

/** @param namespace absent: every user is named by a UUID */
export function createUserIds(namespace: string | undefined): UserIds {
  const mapped = (name: string) => (namespace !== undefined && isName(name) ? v5(name, namespace) : null)
  function ofSubject(subject: string): string | null {
    const uuid = asUuid(subject)
    if (uuid === null) return mapped(subject)
    return namespace !== undefined && VERSION_5.test(uuid) ? mapped(uuid) : uuid
  }
  return {
    mapsNames: namespace !== undefined,
    pattern: namespace === undefined ? UUID.source : null,
    ofSubject,
    ofHeader(value) {
      const name = decoded(value)
      // Several headers of one name arrive as one, joined like this: one of them may be a client's.
      return name === null || name.includes(', ') ? null : ofSubject(name)
    },
    ofParameter: (user) => asUuid(user) ?? mapped(user),
  }
}

/** In lower case. */
function asUuid(text: string): string | null {
  return UUID.test(text) ? text.toLowerCase() : null
}

/** Both runtimes show each byte of a header as one character. Null when the bytes are no UTF-8. */
function decoded(value: string): string | null {
  if (!/[\u0080-\u00ff]/.test(value)) return value
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(value, 'latin1'))
  } catch {
    return null
  }
}

/** Whether a text is 1 to 255 characters that can be told apart from every other name wherever it is sent. */
function isName(text: string): boolean {
  return text.length > 0 && text.length <= LONGEST_NAME && NAME.test(text) && !CONTROL.test(text) && text.isWellFormed()
}
