/** The multipart/form-data body of an upload (RFC 7578): exactly one file, and a few short fields. */
import {
  MaxPartsExceededError,
  MultipartParseError,
  MultipartParser,
  type MultipartPart,
} from '@remix-run/multipart-parser'
import { fileTooLarge, Problem } from '../problem.ts'
import { bodyTooLarge, readBody } from './body.ts'

export type Form = { file: { name: string; bytes: Uint8Array }; fields: Record<string, string> }

const FIELD_BYTES = 1024
const PART_HEADER_BYTES = 8 * 1024
const PARTS = 8
// What may surround the file: boundaries, headers and short fields.
const FRAME_BYTES = PARTS * (PART_HEADER_BYTES + FIELD_BYTES)

/**
 * Reads the body into one buffer and finds the parts in it without copying them.
 * @param fileLimit bytes that the file may have
 * @throws Problem `content_type_unsupported`, `multipart_malformed`, `file_missing`, `too_many_parts`,
 *   `file_too_large` or `body_too_large`
 */
export async function readForm(request: Request, fileLimit: number): Promise<Form> {
  const boundary = boundaryOf(request.headers.get('content-type') ?? '')
  const body = await readBody(request, fileLimit + FRAME_BYTES, () => fileTooLarge(fileLimit))
  const form = collect(parse(body, boundary))
  if (form.file.bytes.length > fileLimit) throw fileTooLarge(fileLimit)
  return form
}

function boundaryOf(contentType: string): string {
  if (!/^multipart\/form-data\s*(;|$)/i.test(contentType))
    throw new Problem('content_type_unsupported', 'The request has to be multipart/form-data.')
  // RFC 2046, section 5.1.1: 1 to 70 characters of these.
  const found = /;\s*boundary=(?:"([\w'()+,./:=? -]{1,70})"|([\w'+./:=?-]{1,70}))\s*(?:;|$)/i.exec(contentType)
  const boundary = found?.[1] ?? found?.[2]
  if (boundary === undefined) throw malformed('The content type names no valid boundary.')
  return boundary
}

function parse(body: Uint8Array, boundary: string): MultipartPart[] {
  const parser = new MultipartParser(boundary, {
    maxHeaderSize: PART_HEADER_BYTES,
    maxParts: PARTS,
    maxFileSize: body.length,
    maxTotalSize: body.length,
  })
  try {
    const parts = [...parser.write(body)]
    parser.finish()
    return parts
  } catch (error) {
    if (error instanceof MaxPartsExceededError) throw tooManyParts(`There may be ${PARTS} parts at most.`)
    if (error instanceof MultipartParseError) throw malformed(error.message, error)
    throw error
  }
}

function collect(parts: MultipartPart[]): Form {
  let file: Form['file'] | undefined
  const fields: Record<string, string> = {}
  for (const part of parts) {
    const { name, fileName } = readHeaders(part)
    if (name === 'file' && fileName !== undefined) {
      if (file !== undefined) throw tooManyParts('There may be one part named file.')
      file = { name: fileName, bytes: part.content.length === 1 ? (part.content[0] ?? new Uint8Array()) : part.bytes }
    } else if (name === 'file') {
      throw new Problem('file_missing', 'The part named file is a field without a file name, not a file.')
    } else {
      if (Object.hasOwn(fields, name)) throw tooManyParts('There may be one part of each name.')
      fields[name] = readText(part)
    }
  }
  if (file === undefined) throw new Problem('file_missing', 'There has to be a part named file.')
  return { file, fields }
}

function readHeaders(part: MultipartPart): { name: string; fileName: string | undefined } {
  const disposition = decodeOrRefuse(() => part.headers['content-disposition'] ?? '')
  if (part.name === undefined || !/^form-data\s*;/i.test(disposition))
    throw malformed('Each part needs a Content-Disposition of form-data with a name.')
  return { name: part.name, fileName: fileNameOf(disposition, part) }
}

/**
 * Browsers send a backslash as it is, and `"`, CR and LF as %22, %0D and %0A (WHATWG HTML, multipart/form-data
 * encoding); to a parser of quoted strings (RFC 9110) the backslashes of a Windows path would be escapes.
 */
function fileNameOf(disposition: string, part: MultipartPart): string | undefined {
  if (/;\s*filename\*\s*=/i.test(disposition)) return part.filename
  const quoted = /;\s*filename="((?:\\"|[^"])*)"/i.exec(disposition)?.[1]
  if (quoted === undefined) return part.filename
  return quoted.replaceAll('\\"', '"').replace(/%22|%0D|%0A/gi, (encoded) => decodeURIComponent(encoded))
}

function readText(part: MultipartPart): string {
  if (part.size > FIELD_BYTES) throw bodyTooLarge(FIELD_BYTES)
  return decodeOrRefuse(() => part.text)
}

function decodeOrRefuse(decode: () => string): string {
  try {
    return decode()
  } catch (error) {
    throw malformed('A part holds text that is not UTF-8.', error)
  }
}

function malformed(detail: string, cause?: unknown): Problem {
  return new Problem('multipart_malformed', detail, { cause })
}

function tooManyParts(detail: string): Problem {
  return new Problem('too_many_parts', detail)
}
