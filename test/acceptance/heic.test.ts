import { beforeAll, describe, expect, test } from 'bun:test'
import sharp from 'sharp'
import {
  answered,
  expectBytes,
  expectProblem,
  type MediaObject,
  newUser,
  type SignedMediaObject,
} from '../support/http/client.ts'
import { type Multipart, partsClient } from '../support/http/parts.ts'
import { tusUpload } from '../support/http/tus-client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { heic } from '../support/pictures/heic.ts'
import { encodeHeic, haveHeifEnc } from '../support/pictures/heif-enc.ts'
import type { Bytes } from '../support/pictures/picture-pieces.ts'
import { backend, usualStage } from '../support/process/acceptance.ts'

const stage = await usualStage()
const { baseUrl, call, complete, get, presigned, put, upload } = stage
const { begin, send } = partsClient(stage)

/** Stands in the metadata of the photo. */
const SECRET = 'where-she-lives'
const fileType = 'image/heic'
const filename = 'IMG_1.v2.HEIC'
const visibility = 'public'

const ways: Record<string, (user: string, bytes: Bytes) => Promise<string>> = {
  async upload(user, bytes) {
    const options = { name: filename, type: fileType, fields: { visibility } }
    return (await answered<MediaObject>(201, await upload(user, bytes, options))).id
  },
  async presign(user, bytes) {
    const link = await presigned(user, { filename, fileType, visibility })
    expect((await put(link, bytes)).status).toBe(200)
    await answered(200, await complete(user, link.id))
    return link.id
  },
  async multipart(user, bytes) {
    const begun = await begin(user, { filename, fileType, visibility, size: bytes.length })
    const one = await answered<Multipart>(200, begun)
    await send(user, one, bytes)
    await answered(200, await complete(user, one.id))
    return one.id
  },
  async tus(user, bytes) {
    return (await tusUpload(baseUrl, user, bytes, { metadata: { filename, filetype: fileType, visibility } })).id
  },
}
const usable = Object.entries(ways).filter(([way]) => way !== 'multipart' || backend !== 'embedded')

describe.skipIf(!haveHeifEnc())('a HEIC of heif-enc', () => {
  let photo: Bytes
  beforeAll(async () => {
    const exif = {
      IFD0: { ImageDescription: SECRET, Make: SECRET },
      IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1' },
    }
    const rocket = sharp(await readCorpus('accept/rocket.jpg'))
      .withExif(exif)
      .jpeg()
    photo = await encodeHeic(await rocket.toBuffer(), 'jpg')
    expect(Buffer.from(photo).includes(SECRET)).toBe(true)
  })

  test.each(usable)(
    'by %s is a picture: its owner gets it as it is, others a JPEG without metadata',
    async (_, way) => {
      const user = newUser()
      const id = await way(user, photo)
      const own = await answered<SignedMediaObject>(200, await get(user, id))
      expect(own).toMatchObject({ mimeType: fileType, metadata: { width: 640, height: 427 }, originalName: filename })
      expect(own.key).toEndWith('/original.heic')
      await expectBytes(await fetch(own.signedUrl), photo)

      const copy = await followed(`/media/${id}/content?download`)
      expect(copy.headers.get('content-type')).toBe('image/jpeg')
      expect(copy.headers.get('content-disposition')).toMatch(/filename="?IMG_1\.v2\.jpg"?$/)
      const bytes = new Uint8Array(await copy.arrayBuffer())
      expect(await sharp(bytes).metadata()).toMatchObject({
        format: 'jpeg',
        width: 640,
        height: 427,
        hasProfile: false,
      })
      expect(Buffer.from(bytes).includes(SECRET)).toBe(false)

      const others = await answered<SignedMediaObject>(200, await call(`/media/${id}`))
      const signed = await fetch(others.signedUrl)
      expect(signed.headers.get('content-type')).toBe('image/jpeg')
      await expectBytes(signed, bytes)

      const rendition = await followed(`/media/${id}/content?w=160`, user)
      expect(rendition.headers.get('content-type')).toBe('image/jpeg')
      const { width, height } = await sharp(await rendition.arrayBuffer()).metadata()
      expect([width, height]).toEqual([160, 107])
      const { metadata } = await answered<MediaObject>(200, await get(user, id))
      expect(metadata).toMatchObject({ thumbHash: expect.any(String), dominantColor: expect.stringMatching(/^#/) })
    },
  )

  test('of ten bits is decoded', async () => {
    const create = { width: 320, height: 200, channels: 3, background: '#c04020' } as const
    const deep = await sharp({ create }).toColourspace('rgb16').png().toBuffer()
    expect(await shownAsPng(await encodeHeic(deep, 'png', '-b', '10'))).toEqual([0xc0, 0x40, 0x20])
  })

  test('with transparency is decoded, onto white where the format has none', async () => {
    const create = { width: 320, height: 200, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } } as const
    const clear = await sharp({ create }).png().toBuffer()
    expect(await shownAsJpeg(await encodeHeic(clear, 'png'))).toEqual([255, 255, 255])
  })
})

test('a HEIC of more pixels than are decoded is stored, and told to be too large', async () => {
  const user = newUser()
  const large = heic({ columns: 2, rows: 2, width: 9000, height: 7200 })
  const { id, metadata } = await answered<MediaObject>(201, await upload(user, large, { fields: { visibility } }))
  expect(metadata).toMatchObject({ width: 9000, height: 7200 })
  await expectProblem(await call(`/media/${id}/content?w=160`, { as: user }), 422, 'image_too_large')
  await expectProblem(await call(`/media/${id}/content`), 422, 'image_too_large')
})

async function followed(path: string, as?: string): Promise<Response> {
  const answer = await call(path, as === undefined ? {} : { as })
  expect([answer.status, await answer.text()]).toEqual([302, ''])
  return fetch(new URL(answer.headers.get('location') ?? '', baseUrl))
}

const shownAsPng = (bytes: Bytes) => middleOf(bytes, 'png')
const shownAsJpeg = (bytes: Bytes) => middleOf(bytes, 'jpeg')

/** The colour in the middle of a rendition, each channel as it should be where it is near. */
async function middleOf(bytes: Bytes, format: string): Promise<number[]> {
  const user = newUser()
  const { id } = await answered<MediaObject>(201, await upload(user, bytes))
  const rendition = await followed(`/media/${id}/content?w=160&format=${format}`, user)
  const { data, info } = await sharp(await rendition.arrayBuffer())
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true })
  const at = (Math.floor(info.height / 2) * info.width + Math.floor(info.width / 2)) * info.channels
  return [0, 1, 2].map((channel) => {
    const value = data[at + channel] ?? 0
    return [0x20, 0x40, 0xc0, 255].find((near) => Math.abs(near - value) < 5) ?? value
  })
}
