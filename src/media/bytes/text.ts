/** Tells text from other bytes, and SVG from other text. */

const TEXT_BYTES = 1024 * 1024
const ROOT_BYTES = 64 * 1024

/** Whether the first MiB is UTF-8 without NUL. */
export function isText(bytes: Uint8Array): boolean {
  const beginning = bytes.subarray(0, TEXT_BYTES)
  if (beginning.includes(0)) return false
  try {
    // The last character may be cut off by the limit, and by nothing else.
    new TextDecoder('utf-8', { fatal: true }).decode(beginning, { stream: beginning.length === TEXT_BYTES })
    return true
  } catch {
    return false
  }
}

/** Whether the root element is `svg`, and begins within the first 64 KiB. */
export function isSvg(bytes: Uint8Array): boolean {
  if (!isText(bytes)) return false
  const text = new TextDecoder().decode(bytes.subarray(0, ROOT_BYTES))
  let at = 0
  for (;;) {
    BLANKS.lastIndex = at
    BLANKS.test(text)
    at = BLANKS.lastIndex
    const after = BEFORE_ROOT.find(([begin]) => text.startsWith(begin, at))
    if (after === undefined) break
    const [begin, end] = after
    const ends = text.indexOf(end, at + begin.length)
    if (ends === -1) return false
    at = ends + end.length
  }
  ROOT.lastIndex = at
  return ROOT.test(text)
}

// A DOCTYPE with declarations of its own ends before its root element is found, so it is refused.
const BEFORE_ROOT: [begin: string, end: string][] = [
  ['<?', '?>'],
  ['<!--', '-->'],
  ['<!DOCTYPE', '>'],
]
const BLANKS = /\s*/y
const ROOT = /<(?:[\w.-]{1,64}:)?svg[\s/>]/y
