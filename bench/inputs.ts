/** The files that are uploaded, and the bodies of requests, written into a folder once. */
import { join } from 'node:path'
import sharp from 'sharp'
import { multipart } from '../test/support/http/multipart.ts'
import { readCorpus } from '../test/support/pictures/corpus.ts'

export type Picture = { bytes: number; file: string; form: string; formType: string }
export type Inputs = { small: Picture; large: Picture; photo: Picture; presign: string }

/** Photos of about 30 KB, 3 MB and 12 megapixels, as themselves and as forms, and the JSON of a presign for the small one. */
export async function writeInputs(folder: string): Promise<Inputs> {
  const small = await writePicture(folder, 'small', { width: 440, quality: 92 }, [27_000, 33_000])
  const large = await writePicture(folder, 'large', { width: 6400, quality: 97 }, [2_700_000, 3_300_000])
  const photo = await writePicture(folder, 'photo', { width: 4240, quality: 90 }, [500_000, 3_000_000])
  const presign = join(folder, 'presign.json')
  await Bun.write(presign, JSON.stringify({ filename: 'photo.jpg', fileType: 'image/jpeg', size: small.bytes }))
  return { small, large, photo, presign }
}

async function writePicture(
  folder: string,
  name: string,
  { width, quality }: { width: number; quality: number },
  [least, most]: [number, number],
): Promise<Picture> {
  const content = await sharp(await readCorpus('accept/rocket.jpg'))
    .resize(width)
    .jpeg({ quality })
    .toBuffer()
  if (content.length < least || content.length > most) throw new Error(`${name} has ${content.length} bytes`)
  const { body, headers } = multipart([{ name: 'file', filename: 'photo.jpg', type: 'image/jpeg', content }])
  const [file, form] = [join(folder, `${name}.jpg`), join(folder, `${name}.form`)]
  await Promise.all([Bun.write(file, content), Bun.write(form, body)])
  return { bytes: content.length, file, form, formType: headers['content-type'] }
}
