import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { acceptDeclared, createInspect } from '../../src/media/bytes/inspect.ts'
import { nameOfOriginal } from '../../src/media/object/object.ts'
import { createImageProbe } from '../../src/pictures/image.ts'
import { INSPECTED_BYTES, MAX_FRAMES } from '../../src/pictures/limits.ts'
import { refusal } from '../support/http/refusal.ts'
import { accepted, DEFAULT_TYPES, readCase, readCorpus, refused } from '../support/pictures/corpus.ts'
import { gif, gifFrame } from '../support/pictures/made-pictures.ts'
import { repeat } from '../support/pictures/picture-pieces.ts'
import { repository } from '../support/repository.ts'
import { createFolder } from '../support/services/folder.ts'

function inspectorOf(allowedTypes: Set<string>, maxPixels = 100_000_000) {
  return createInspect({ allowedTypes, probeImage: createImageProbe({ allowedTypes, maxPixels }) })
}

const inspect = inspectorOf(DEFAULT_TYPES)

describe('a file of the corpus', () => {
  for (const { file, type, width, height } of accepted.filter(({ type }) => DEFAULT_TYPES.has(type))) {
    test(`${file} is ${type} of ${width} × ${height}`, async () => {
      const expected = { mimeType: type, dimensions: { width, height } }
      expect(await inspect(await readCorpus(file))).toEqual(expected)
    })
  }

  for (const { file, code } of refused.filter(({ code }) => code !== 'file_empty')) {
    test(`${file} is refused: ${code}`, async () => {
      expect(await refusal(inspect(await readCorpus(file)))).toMatchObject({ code })
    })
  }

  test('clip.mp4 is refused by default, and has no dimensions where it is allowed', async () => {
    const clip = await readCorpus('accept/clip.mp4')
    expect(await refusal(inspect(clip))).toMatchObject({ code: 'media_type_unsupported' })
    const open = inspectorOf(new Set(['video/mp4']))
    const found = await open(clip)
    expect(found).toEqual({ mimeType: 'video/mp4', dimensions: { width: null, height: null } })
    inspectorOf(DEFAULT_TYPES)
  })
})

describe('an animation', () => {
  const frames = (count: number, side = 1) => inspect(gif(side, side, repeat(count, gifFrame(side, side))))

  test('has the size of one frame, and may have 10,000 of them', async () => {
    expect((await frames(MAX_FRAMES)).dimensions).toEqual({ width: 1, height: 1 })
    expect(await refusal(frames(MAX_FRAMES + 1))).toMatchObject({ code: 'image_too_large' })
  })

  test('may have ten times the pixels of a still picture', async () => {
    expect((await frames(10, 10_000)).dimensions).toEqual({ width: 10_000, height: 10_000 })
    expect(await refusal(frames(11, 10_000))).toMatchObject({ code: 'image_too_large' })
  })
})

describe('the beginning of a file', () => {
  test('is enough to know its type and size', async () => {
    const found = accepted.filter(({ file, type }) => file.startsWith('accept/') && DEFAULT_TYPES.has(type))
    for (const { file, type, width, height } of found) {
      const bytes = await readCorpus(file)
      const beginning = bytes.subarray(0, Math.min(INSPECTED_BYTES, Math.ceil(bytes.length * 0.6)))
      expect({ file, ...(await inspect(beginning)) }).toEqual({
        file,
        mimeType: type,
        dimensions: { width, height },
      })
    }
  })

  test('is refused like the whole file when it declares too many pixels', async () => {
    const bomb = await readCorpus('refuse/bomb-900-megapixels.png')
    expect(await refusal(inspect(bomb.subarray(0, 5000)))).toMatchObject({ code: 'image_too_large' })
    const tight = inspectorOf(DEFAULT_TYPES, 120 * 80 - 1)
    const gif = await readCorpus('accept/three-frames-120x80.gif')
    expect(await refusal(tight(gif))).toMatchObject({ code: 'image_too_large' })
    expect((await inspectorOf(DEFAULT_TYPES, 120 * 80)(gif)).dimensions.width).toBe(120)
  })
})

test('no picture costs more than a moment and some memory, whatever it claims', async () => {
  const folder = await createFolder()
  try {
    const files = [...accepted, ...refused].map(({ file }) => file)
    for (const [i, file] of files.entries()) await Bun.write(join(folder.path, String(i)), await readCorpus(file))
    const reading = await costOf(folder.path, false)
    const inspecting = await costOf(folder.path, true)
    expect(inspecting.seconds - reading.seconds).toBeLessThan(2)
    expect(inspecting.mebibytes - reading.mebibytes).toBeLessThan(100)
  } finally {
    await folder.remove()
  }
})

test('only the decoders of allowed types ever see the bytes', async () => {
  const probe = createImageProbe({ allowedTypes: new Set(['image/png']), maxPixels: 1e9 })
  const rocket = await readCorpus('accept/rocket.jpg')
  expect(await refusal(probe(rocket, 'image/jpeg'))).toMatchObject({
    code: 'image_unreadable',
  })
  createImageProbe({ allowedTypes: DEFAULT_TYPES, maxPixels: 1e9 })
  expect(await probe(rocket, 'image/jpeg')).toEqual({ width: 640, height: 427 })
})

test.each([
  ['made/huge-index.mp4', 'video/mp4'],
  ['made/huge-tag.mp3', 'audio/mpeg'],
  ['made/film.webm', 'video/webm'],
])('%s is told by its beginning, where it is allowed', async (file, mimeType) => {
  const found = await inspectorOf(new Set([mimeType]))(await readCorpus(file))
  expect(found).toEqual({ mimeType, dimensions: { width: null, height: null } })
  inspectorOf(DEFAULT_TYPES)
})

test.each([
  ['major-brand-mif1.avif', 'image/avif', 240, 160],
  ['animated.png', 'image/png', 60, 40],
  ['webp-orientation-behind-1mib.webp.gz', 'image/webp', 240, 160],
  ['webp-orientation-long-big-endian.webp', 'image/webp', 240, 160],
  ['depth-map-of-2mib-in-xmp.jpg.gz', 'image/jpeg', 240, 160],
  ['icc-of-1.8mb.jpg.gz', 'image/jpeg', 240, 160],
  ['directory-behind-pixels.tiff', 'image/tiff', 60, 40],
  ['exif-behind-1mib.avif.gz', 'image/avif', 240, 160],
] as const)('%s is %s of %d × %d, as a whole and by ranges', async (file, mimeType, width, height) => {
  const open = inspectorOf(new Set([...DEFAULT_TYPES, 'image/tiff']))
  const bytes = await readCase(file)
  const expected = { mimeType, dimensions: { width, height } }
  expect(await open(bytes)).toEqual(expected)
  const rest = {
    sizeBytes: bytes.length,
    read: async ({ start, length }: { start: number; length: number }) => bytes.subarray(start, start + length),
  }
  expect(await open(bytes.subarray(0, INSPECTED_BYTES), { rest })).toEqual(expected)
  inspectorOf(DEFAULT_TYPES)
})

test('a type that is not accepted is refused with those that are', () => {
  expect(acceptDeclared('image/png', DEFAULT_TYPES)).toBe('image/png')
  expect(() => acceptDeclared('image/svg+xml', DEFAULT_TYPES)).toThrow('image/jpeg, image/png')
})

test.each([
  ['IMAGE/JPEG', 'image/jpeg'],
  ['image/png; charset=binary', 'image/png'],
  ['image/jpg', 'image/jpeg'],
  ['image/heif', 'image/heic'],
  ['application/octet-stream', 'application/octet-stream'],
  ['', 'application/octet-stream'],
  [undefined, 'application/octet-stream'],
])('a declaration of %p is read as %p', (declared, type) => {
  expect(acceptDeclared(declared, DEFAULT_TYPES)).toBe(type)
})

describe('a type that bytes do not show', () => {
  const types = ['text/plain', 'text/csv', 'application/json', 'image/svg+xml', 'application/msword', 'image/png']
  const told = async (bytes: Uint8Array | string, declared?: string, allowed = types) => {
    const inspect = inspectorOf(new Set(allowed))
    const found = inspect(typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes, { declared })
    return found.then(
      ({ mimeType }) => mimeType,
      (error) => error.code,
    )
  }
  const MiB = 1024 * 1024

  test.each(['text/plain', 'text/csv', 'application/json', 'TEXT/PLAIN; charset=utf-8'])(
    'counts for text when it is declared: %s',
    async (declared) => {
      expect(await told('name,größe\n', declared)).toBe(declared.toLowerCase().split(';')[0] ?? '')
      expect(await told('name,größe\n')).toBe('media_type_unsupported')
      expect(await told('name,größe\n', declared, ['image/png'])).toBe('media_type_unsupported')
    },
  )

  test('does not count for what is no text, or has another type', async () => {
    expect(await told(Uint8Array.of(65, 0, 66), 'text/plain')).toBe('media_type_unsupported')
    expect(await told(Uint8Array.of(65, 0xff, 66), 'text/plain')).toBe('media_type_unsupported')
    expect(await told(Uint8Array.of(65, 0xc3), 'text/plain')).toBe('media_type_unsupported')
    expect(await told('%PDF-1.7 ', 'text/plain')).toBe('media_type_unsupported')
    expect(await told(await readCorpus('accept/astronaut.png'), 'text/plain')).toBe('image/png')
  })

  test('is judged by the first MiB, which may end within a character', async () => {
    expect(await told(Buffer.from('ä'.repeat(MiB / 2 + 5).slice(1)), 'text/plain')).toBe('text/plain')
    expect(await told(Buffer.from(`a${'ä'.repeat(MiB)}`), 'text/plain')).toBe('text/plain')
    expect(await told(Buffer.concat([Buffer.alloc(MiB, 'a'), Uint8Array.of(0, 0xff)]), 'text/plain')).toBe('text/plain')
  })

  test.each([
    '<svg xmlns="http://www.w3.org/2000/svg"/>',
    '\ufeff<?xml version="1.0"?>\n<!-- a > comment -->\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "u">\n<svg>',
    '<s:svg xmlns:s="http://www.w3.org/2000/svg">',
  ])('is SVG when its root is: %s', async (text) => {
    expect(await told(text, 'image/svg+xml')).toBe('image/svg+xml')
  })

  test.each([
    '<html><svg></svg></html>',
    '<!-- <svg> --><p>',
    '<?xml version="1.0"?><svgs>',
    '<!DOCTYPE svg [<!ENTITY a "b">]><svg>',
    `<svg>\0`,
    `${' '.repeat(65_537)}<svg>`,
    '<!--'.repeat(16_000),
  ])('is not SVG: %#', async (text) => {
    expect(await told(text, 'image/svg+xml')).toBe('media_type_unsupported')
  })

  test('is that of old Office files when they are compound files', async () => {
    const compound = Buffer.alloc(600)
    compound.set([0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1])
    expect(await told(compound, 'application/msword')).toBe('application/msword')
    expect(await told(compound)).toBe('media_type_unsupported')
    expect(await told(compound, undefined, ['application/x-cfb'])).toBe('application/x-cfb')
    expect(await told('text', 'application/msword')).toBe('media_type_unsupported')
  })
})

test('a key has the usual extension of its type', () => {
  const types = ['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/avif', 'video/mp4', 'no/such']
  const endings = types.map((type) => nameOfOriginal(type).replace('original', ''))
  expect(endings).toEqual(['.jpg', '.png', '.webp', '.gif', '.avif', '.mp4', ''])
})

/** What a process takes that reads every file of a folder, and perhaps inspects it: processor time, and memory at most. */
async function costOf(folder: string, inspecting: boolean): Promise<{ seconds: number; mebibytes: number }> {
  const module = (name: string) => JSON.stringify(join(repository, 'src', name))
  const script = `
    import { readdir, readFile } from 'node:fs/promises'
    import { createImageProbe } from ${module('pictures/image.ts')}
    import { createInspect } from ${module('media/bytes/inspect.ts')}
    const allowedTypes = new Set(${JSON.stringify([...DEFAULT_TYPES])})
    const inspect = createInspect({ allowedTypes, probeImage: createImageProbe({ allowedTypes, maxPixels: 1e8 }) })
    for (const name of await readdir(${JSON.stringify(folder)})) {
      const bytes = await readFile(${JSON.stringify(folder)} + '/' + name)
      if (${inspecting}) await inspect(bytes).catch(() => {})
    }
    const { user, system } = process.cpuUsage()
    // Not maxRSS, which a process takes over from the one that started it.
    const [, peak] = /VmHWM:\\s+(\\d+) kB/.exec(await readFile('/proc/self/status', 'utf8'))
    console.log(JSON.stringify({ seconds: (user + system) / 1e6, mebibytes: peak / 1024 }))`
  const child = Bun.spawn([process.execPath, '-e', script], { stderr: 'inherit' })
  return JSON.parse(await new Response(child.stdout).text())
}
