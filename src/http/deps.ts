/** The dependencies of the routes. */
import type { Context } from 'hono'
import type { UserIds } from '../auth/user-id.ts'
import type { Media } from '../media/media.ts'
import type { RenditionLinks } from '../media/renditions/links.ts'
import type { UploadMemory } from './body/memory.ts'
import type { FileLimits } from './openapi/schemas/uploads.ts'
import type { Identify } from './request/identify.ts'

export type Deps = {
  media: Media
  identify: Identify
  userIds: UserIds
  /** Absent: links use the origin of each request. */
  publicBaseUrl: string | undefined
  maxUploadBytes: number
  /** Only documented here; `media` enforces them. */
  fileLimits: FileLimits
  uploadMemory: UploadMemory
  renditionLinks: RenditionLinks
  /** The client address, as the rate limiter counts it. */
  addressOf: (c: Context) => string
}
