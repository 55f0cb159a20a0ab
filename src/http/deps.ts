/** What the routes are given. */
import type { Context } from 'hono'
import type { Media } from '../media/media.ts'
import type { RenditionLinks } from '../media/renditions/links.ts'
import type { UploadMemory } from './body/memory.ts'
import type { FileLimits } from './openapi/schemas.ts'
import type { Identify } from './request/identify.ts'

export type Deps = {
  media: Media
  identify: Identify
  /** Absent: the origin of each request. */
  publicBaseUrl: string | undefined
  maxUploadBytes: number
  /** For the document: `media` keeps them. */
  fileLimits: FileLimits
  uploadMemory: UploadMemory
  renditionLinks: RenditionLinks
  /** Where a request comes from, as the rate limiter counts it. */
  addressOf: (c: Context) => string
}
