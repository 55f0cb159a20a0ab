/** Media types: what a client may declare, and what a declaration means once the bytes are known. */

import { supportedMimeTypes } from 'file-type'

/** The type is not declared: the bytes alone decide. */
export const UNDECLARED = 'application/octet-stream'

/** SVG is text that runs code in a browser. It is never displayed inline. */
export const SVG = 'image/svg+xml'
/** Text, of which the bytes do not say the type. */
export const TEXT_TYPES: ReadonlySet<string> = new Set([
  'text/plain',
  'text/csv',
  'text/markdown',
  'application/json',
  SVG,
])
/** Files of Office before 2007, which look alike: the bytes only say that they are compound files. */
export const COMPOUND_FILE = 'application/x-cfb'
export const OLD_OFFICE_TYPES: ReadonlySet<string> = new Set([
  'application/msword',
  'application/vnd.ms-excel',
  'application/vnd.ms-powerpoint',
])

// Common names of types that have another one.
const ALIASES: Record<string, string> = {
  '': UNDECLARED,
  'binary/octet-stream': UNDECLARED,
  'image/apng': 'image/png',
  'image/jpg': 'image/jpeg',
  'image/pjpeg': 'image/jpeg',
  'image/x-png': 'image/png',
}

/** Whether files of this type can be told, by their bytes alone or together with what their client declares. */
export function isTellable(type: string): boolean {
  return (supportedMimeTypes as ReadonlySet<string>).has(type) || TEXT_TYPES.has(type) || OLD_OFFICE_TYPES.has(type)
}

/** The type that a client means: without case, parameters and aliases. An empty text declares nothing. */
export function declaredType(text: string): string {
  const [type = ''] = text.split(';', 1)
  const name = type.trim().toLowerCase()
  return ALIASES[name] ?? name
}

/**
 * Whether an upload declared as one type may turn out to be the other: any file of which nothing was declared, and a
 * picture of another format, since programs and people often name pictures wrongly.
 */
export function mayTurnOut(declared: string, found: string): boolean {
  const arePictures = [declared, found].every((type) => type.startsWith('image/'))
  return declared === found || declared === UNDECLARED || arePictures
}
