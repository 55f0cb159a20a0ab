/** Finds out whether commands would be accepted, without running them. */
import type { RedisClient } from './client.ts'

export type RedisCommand = readonly [name: string, ...args: (string | number)[]]

/**
 * Queues commands in a transaction and discards it. Redis checks rights, read-only replicas, loading, memory and
 * persistence when a command is queued. One pipeline, so that nothing else on the connection gets into the transaction.
 * Returns the refused commands; rejects when there is no transaction to be had, and when the connection fails.
 */
export async function rehearse(
  client: RedisClient,
  commands: readonly RedisCommand[],
): Promise<{ command: RedisCommand; error: Error }[]> {
  const pipeline = client.pipeline()
  pipeline.call('multi')
  for (const [name, ...args] of commands) pipeline.call(name, ...args)
  pipeline.call('discard')
  const [begun, ...replies] = (await pipeline.exec()) ?? []
  if (begun === undefined) throw new Error('redis: no answer')
  if (begun[0]) throw begun[0]
  const notEnded = replies.at(-1)?.[0]
  if (notEnded) {
    // All that came later on this connection would be queued as well.
    client.disconnect(true)
    throw notEnded
  }
  return commands.flatMap((command, i) => {
    const error = replies[i]?.[0]
    return error ? [{ command, error }] : []
  })
}
