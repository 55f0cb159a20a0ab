/** The framing of the pipes between the service and a decoder process: two lengths, a JSON header and a binary body. */

/** Most bytes of a header, which holds a task or an answer, never a file's bytes. */
const MOST_HEADER_BYTES = 16 * 1024
const PREFIX_BYTES = 8

/** The lengths and the header that precede a body of `bodyBytes`. */
export function frameStart(header: unknown, bodyBytes: number): Uint8Array {
  const json = Buffer.from(JSON.stringify(header))
  const start = Buffer.alloc(PREFIX_BYTES + json.length)
  start.writeUInt32BE(json.length, 0)
  start.writeUInt32BE(bodyBytes, 4)
  json.copy(start, PREFIX_BYTES)
  return start
}

/**
 * Takes chunks of a pipe and delivers each frame once it is complete.
 * @throws for a frame larger than `mostBodyBytes` allows, before allocating memory for it
 */
export function createFrameReader(
  mostBodyBytes: number,
  deliver: (header: unknown, body: Uint8Array) => void,
): (chunk: Uint8Array) => void {
  let stage: 'prefix' | 'header' | 'body' = 'prefix'
  let target = new Uint8Array(PREFIX_BYTES)
  let filled = 0
  let bodyBytes = 0
  let header: unknown

  const expect = (next: typeof stage, bytes: number) => {
    stage = next
    target = new Uint8Array(bytes)
    filled = 0
  }

  function advance(): void {
    if (stage === 'prefix') {
      const view = new DataView(target.buffer)
      const headerBytes = view.getUint32(0)
      bodyBytes = view.getUint32(4)
      if (headerBytes === 0 || headerBytes > MOST_HEADER_BYTES || bodyBytes > mostBodyBytes)
        throw new RangeError(`a frame of ${headerBytes} and ${bodyBytes} bytes`)
      expect('header', headerBytes)
      return
    }
    if (stage === 'header') {
      header = JSON.parse(new TextDecoder().decode(target))
      expect('body', bodyBytes)
      if (bodyBytes > 0) return
    }
    const body = target
    expect('prefix', PREFIX_BYTES)
    deliver(header, body)
  }

  return function push(chunk) {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(target.length - filled, chunk.length - at)
      target.set(chunk.subarray(at, at + taken), filled)
      filled += taken
      at += taken
      if (filled === target.length) advance()
    }
  }
}
