export type Part = { name: string; filename?: string; type?: string; content: string | Uint8Array }

export const BOUNDARY = 'boundary-of-the-acceptance-tests'

/** A multipart/form-data body as browsers write it, with the header that goes with it. */
export function multipart(parts: Part[]): { body: Uint8Array<ArrayBuffer>; headers: { 'content-type': string } } {
  const end = `--${BOUNDARY}--\r\n`
  return rawMultipart(...parts.flatMap((part) => [head(part), part.content, '\r\n']), end)
}

/** The same from pieces that may be anything. */
export function rawMultipart(...pieces: (string | Uint8Array)[]) {
  const body = new Uint8Array(Buffer.concat(pieces.map((piece) => Buffer.from(piece as Uint8Array))))
  return { body, headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` } }
}

/** What goes before a part's content. */
export function head({ name, filename, type }: Omit<Part, 'content'>): string {
  const file = filename === undefined ? '' : `; filename="${encodeName(filename)}"`
  const contentType = type === undefined ? '' : `Content-Type: ${type}\r\n`
  return `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${encodeName(name)}"${file}\r\n${contentType}\r\n`
}

/** WHATWG HTML, "multipart/form-data encoding algorithm". */
function encodeName(name: string): string {
  return name.replaceAll('\n', '%0A').replaceAll('\r', '%0D').replaceAll('"', '%22')
}
