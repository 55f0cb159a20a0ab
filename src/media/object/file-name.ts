/** Sanitizes the file name that a client sends: it is shown to users again, and never used as a path. */

import mime from 'mime'

const MOST_BYTES = 255
// UTF-16 code units.
const MOST_LETTERS = 1024
const ENDING = 32
const NAMELESS = 'untitled'

// Invisible characters that can make `gnp.exe` read as `exe.png`: controls, line separators, bidirectional overrides.
const UNSAFE = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu

// Windows drops these from the end of a name.
const TRAILING = /[.\s]+$/

/** The last path segment, normalised to NFC, without invisible characters, at most 255 bytes of UTF-8. */
export function safeFileName(sent: string): string {
  const segment = sent.slice(1 + Math.max(sent.lastIndexOf('/'), sent.lastIndexOf('\\')))
  const visible = middleCut(segment).toWellFormed().replace(UNSAFE, '').normalize('NFC').trim()
  // Again after the cut, which may leave such a character at the end.
  const name = shorten(visible.replace(TRAILING, '')).replace(TRAILING, '')
  return name === '' ? NAMELESS : name
}

/** The name with another extension, which begins with a dot. What looks like one but is of no type stays: `v1.2 final`. */
export function withExtension(name: string, extension: string): string {
  const dot = name.lastIndexOf('.')
  const isExtension = dot > 0 && mime.getType(name.slice(dot + 1)) !== null
  return `${isExtension ? name.slice(0, dot) : name}${extension}`
}

/** Bounds the input of the regular expressions: TRAILING takes quadratic time. Keeps the end, for its extension. */
function middleCut(name: string): string {
  return name.length <= MOST_LETTERS ? name : name.slice(0, MOST_LETTERS - ENDING) + name.slice(-ENDING)
}

/** Cuts the stem, not the extension, and never splits a character. */
function shorten(name: string): string {
  const bytes = (text: string) => Buffer.byteLength(text)
  if (bytes(name) <= MOST_BYTES) return name
  const extension = /\.[^.]{1,16}$/u.exec(name)?.[0] ?? ''
  let room = MOST_BYTES - bytes(extension)
  let stem = ''
  for (const character of name) {
    room -= bytes(character)
    if (room < 0) break
    stem += character
  }
  return stem + extension
}
