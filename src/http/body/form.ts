/** The multipart/form-data body of a direct upload (RFC 7578): exactly one file and a few short fields. */
import { parse as parseDisposition } from 'content-disposition'
import { fileTooLarge, Problem } from '../../problem.ts'
import { malformed, type Part, partsOf, textOf } from './form-data.ts'
import type { UploadMemory } from './memory.ts'
import { announcedLength, bodyTooLarge, orBrokenOff, readBody } from './read.ts'

/** `type`: the Content-Type of the file's part; empty if it has none. */
export type Form = { file: { name: string; type: string; bytes: Uint8Array }; fields: Record<string, string> }

const FIELD_BYTES = 1024
const PART_HEADER_BYTES = 8 * 1024
const PARTS = 8
// Allowance for boundaries, headers and short fields around the file.
const FRAME_BYTES = PARTS * (PART_HEADER_BYTES + FIELD_BYTES)

/**
 * Reads the body into one buffer, for which memory is reserved first, and finds the fields in it without copying them.
 * Returns the result of `use`, and releases the memory when `use` ends.
 * @param fileLimit maximum size of the file in bytes
 * @param names of the fields beside the file; others, which libraries add, are ignored
 * @throws Problem `content_type_unsupported`, `multipart_malformed`, `file_missing`, `too_many_parts`,
 *   `file_too_large`, `body_too_large`, `request_timeout` or `overloaded`
 */
export async function withForm<T>(
  request: Request,
  {
    fileLimit,
    memory,
    caller,
    names,
  }: { fileLimit: number; memory: UploadMemory; caller: string; names: readonly string[] },
  use: (form: Form) => Promise<T>,
): Promise<T> {
  const boundary = boundaryOf(request.headers.get('content-type') ?? '')
  const tooLarge = () => fileTooLarge(fileLimit)
  const limits = { limit: fileLimit + FRAME_BYTES, tooLarge, contended: memory.contended }
  const bytes = announcedLength(request, limits) ?? limits.limit
  // A client that disconnects while it waits gives its place up: 200 of them would be served one after the other.
  const release = await orBrokenOff(memory.reserve(caller, bytes, () => request.signal))
  let body: Uint8Array<ArrayBuffer> | undefined
  try {
    body = await readBody(request, limits)
    const form = collect(await partsOf(body, boundary, { maxParts: PARTS, maxHeaderBytes: PART_HEADER_BYTES }), names)
    if (form.file.bytes.length > fileLimit) throw tooLarge()
    return await use(form)
  } finally {
    // Frees the buffer now: the garbage collector does not count memory outside the heap and would run too late.
    body?.buffer.transfer(0)
    release()
  }
}

function boundaryOf(contentType: string): string {
  if (!/^multipart\/form-data\s*(;|$)/i.test(contentType))
    throw new Problem('content_type_unsupported', 'Send the request as multipart/form-data.')
  // RFC 2046, section 5.1.1, allows fewer characters than clients send, such as asterisks.
  const found = /;\s*boundary=(?:"([ !#-~]{1,70})"|([!#-+\--:<-~]{1,70}))\s*(?:;|$)/i.exec(contentType)
  const boundary = found?.[1] ?? found?.[2]
  if (boundary === undefined) throw malformed('The content type has no valid boundary.')
  return boundary
}

function collect(parts: Part[], names: readonly string[]): Form {
  let file: Form['file'] | undefined
  // A map, because a client may name a field `__proto__`.
  const fields = new Map<string, string>()
  for (const { disposition, type, content } of parts) {
    const { name, fileName } = readDisposition(disposition)
    if (name === 'file' && fileName !== undefined) {
      if (file !== undefined) throw tooManyParts('The body may have only one field named file.')
      file = { name: fileName, type, bytes: content }
    } else if (name === 'file') {
      throw new Problem('file_missing', 'The field named file has no file name, so it is not a file.')
    } else if (fileName !== undefined) {
      throw new Problem(
        'file_missing',
        `The file is in a field named ${JSON.stringify(name.slice(0, 64))}; name it file.`,
      )
    } else if (names.includes(name)) {
      if (fields.has(name)) throw tooManyParts('The body has two fields of the same name.')
      fields.set(name, readText(content))
    }
  }
  if (file === undefined) throw new Problem('file_missing', 'The body needs a field named file.')
  return { file, fields: Object.fromEntries(fields) }
}

// A quote behind a backslash that does not end its parameter.
const ESCAPED_QUOTE = /\\"(?![ \t]*(?:;|$))/g

/**
 * Decodes names as browsers encode them (WHATWG HTML, multipart/form-data): backslashes are literal, a quote is %22. Go
 * and curl before 7.81 escape quotes by backslashes.
 */
function readDisposition(disposition: string): { name: string; fileName: string | undefined } {
  const { type, parameters } = parseDisposition(disposition.replace(ESCAPED_QUOTE, '%22'), { multipart: true })
  if (type !== 'form-data' || parameters.name === undefined)
    throw malformed('Each field needs a Content-Disposition of form-data with a name.')
  return { name: parameters.name, fileName: parameters.filename }
}

function readText(content: Uint8Array): string {
  if (content.length > FIELD_BYTES) throw bodyTooLarge(FIELD_BYTES)
  return textOf(content)
}

function tooManyParts(detail: string): Problem {
  return new Problem('too_many_parts', detail)
}
