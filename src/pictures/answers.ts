/** Answers of a decoder process: one to each task, and one when it is ready for the first. */
import { z } from 'zod'

const said = z.string().max(2000)
/** CPU time of the whole process so far, in seconds. */
const cpuSeconds = z.number().nonnegative()
const pixels = z.int().nonnegative()

export const answerSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ready'), cpuSeconds }),
  z.object({
    kind: z.literal('done'),
    cpuSeconds,
    width: pixels,
    height: pixels,
    /** Whether a body follows. */
    hasBytes: z.boolean(),
    /** Whether the process keeps so much memory that it should do no other job. */
    spent: z.boolean(),
    placeholder: z.object({ thumbHash: z.string().max(100), dominantColor: z.string().max(7) }).optional(),
  }),
  /** The decoder refused the bytes. */
  z.object({ kind: z.literal('refused'), cpuSeconds, said }),
  /** More pixels or bytes than the task allows: final, not tried again. */
  z.object({ kind: z.literal('too-large'), cpuSeconds, said }),
  /** The process exceeded a limit and ends itself. */
  z.object({ kind: z.literal('limit'), cpuSeconds, said }),
])

export type Answer = z.infer<typeof answerSchema>
