/** A request with this body, sent in one piece or in the pieces given; without Content-Length, as when it is chunked. */
export function requestOf(chunks: Uint8Array[] | Uint8Array, headers: Record<string, string> = {}): Request {
  const pieces = chunks instanceof Uint8Array ? [chunks] : chunks
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece)
      controller.close()
    },
  })
  return new Request('http://service.test/media/upload', {
    method: 'POST',
    headers,
    body,
    duplex: 'half',
  } as RequestInit)
}

/** Cut at these places, which may lie anywhere. */
export function cut(bytes: Uint8Array, places: number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end))
}
