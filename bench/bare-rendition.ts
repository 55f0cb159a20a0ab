/** `FILE COUNT`: makes a rendition of a picture so many times with sharp alone; prints what that took. */

import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import sharp from 'sharp'

const [file = '', count = '1'] = process.argv.slice(2)
sharp.cache(false)
const make = async () =>
  sharp(await readFile(file))
    .resize(640)
    .webp({ quality: 75 })
    .toBuffer()
await make()
const used = process.cpuUsage()
const begun = performance.now()
let left = Number(count)
const worker = async () => {
  while (left-- > 0) await make()
}
await Promise.all(Array.from({ length: availableParallelism() }, worker))
const { user, system } = process.cpuUsage(used)
console.log(
  JSON.stringify({ cpu: (user + system) / 1000 / Number(count), seconds: (performance.now() - begun) / 1000 }),
)
