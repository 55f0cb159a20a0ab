import { beforeAll, describe, expect, test } from 'bun:test'
import { createImageProbe, type ProbeImage } from '../../src/pictures/image.ts'
import { INSPECTED_BYTES } from '../../src/pictures/limits.ts'
import { checkStructure } from '../../src/pictures/structure.ts'
import { Problem } from '../../src/problem.ts'
import { DEFAULT_TYPES } from '../support/pictures/corpus.ts'
import { hostilePictures, relatives } from '../support/pictures/hostile/hostile.ts'

// Processor time of one call in the serving process that nothing else can be answered in.
const STRETCH_MS = 50

let probeImage: ProbeImage
beforeAll(() => {
  const allowedTypes = new Set([...DEFAULT_TYPES, 'image/tiff'])
  probeImage = createImageProbe({ allowedTypes, maxPixels: 100_000_000 })
})

const known = hostilePictures()
const others = relatives(20261128, 40, { tiff: true })

describe.each([...known, ...others].map((hostile) => [hostile.name, hostile] as const))('%s', (_, hostile) => {
  test('costs the serving process next to nothing, and is told where it can be', async () => {
    const bytes = hostile.make()
    expect(bytes.length).toBeLessThanOrEqual(64 * 1024 * 1024)
    const looked = hostile.mimeType === 'image/tiff' ? bytes : bytes.subarray(0, INSPECTED_BYTES)
    let least = Number.POSITIVE_INFINITY
    let code: string | undefined
    for (let i = 0; i < 3 && least > STRETCH_MS / 5; i += 1) {
      const before = process.cpuUsage()
      const answer = probeImage(looked, hostile.mimeType)
      const { user, system } = process.cpuUsage(before)
      least = Math.min(least, (user + system) / 1000)
      code = await codeOf(() => answer)
    }
    expect(code).toBe(hostile.door)
    expect(least).toBeLessThan(STRETCH_MS)
    expect(await codeOf(() => checkStructure(bytes, hostile.mimeType))).toBe(hostile.structure)
  }, 60_000)
})

async function codeOf(look: () => unknown): Promise<string | undefined> {
  try {
    await look()
    return undefined
  } catch (error) {
    if (error instanceof Problem) return error.code
    throw error
  }
}
