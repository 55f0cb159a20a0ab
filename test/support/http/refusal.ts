/**
 * What a call rejects with; it is an error when it does not. Where PGlite answers in this process, Bun's own
 * `expect(call).rejects` takes seconds (1.4.5): it waits inside a turn of the event loop.
 */
export async function refusal(call: Promise<unknown>): Promise<Error> {
  const outcome = await call.then(
    (value) => ({ value }),
    (error: unknown) => error,
  )
  if (outcome instanceof Error) return outcome
  throw new Error(`It was not refused: ${JSON.stringify(outcome)}`)
}
