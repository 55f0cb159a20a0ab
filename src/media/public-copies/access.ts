/**
 * Which bytes non-owners get of a public object (the original or its public copy), and at which URL (this service's or
 * the CDN's).
 */
import { copyTypeOf } from '../object/copy-type.ts'
import { withExtension } from '../object/file-name.ts'
import { type Addressed, extensionOf, type Home, homeOf, type StoredObject } from '../object/object.ts'

/** What decides who gets which bytes of an object. */
type Visible = Pick<StoredObject, 'id' | 'mimeType' | 'visibility' | 'publicKey'>

export type PublicAccess = ReturnType<typeof createPublicAccess>

/**
 * `baseUrl`: where consumers of events reach the service. `publicOriginals`: non-owners get pictures unchanged, with
 * their metadata; other files are unchanged in any case.
 */
export function createPublicAccess(settings: {
  cdnBaseUrl?: string | undefined
  publicOriginals: boolean
  baseUrl: string
}) {
  const { cdnBaseUrl, publicOriginals, baseUrl } = settings
  const home: Home = cdnBaseUrl === undefined ? 'media/' : 'public/'

  const mustBeClean = ({ mimeType }: { mimeType: string }) => !publicOriginals && mimeType.startsWith('image/')

  /** The key of the public copy; null while there is none that may be served. */
  function copyOf({ mimeType, visibility, publicKey }: Visible): string | null {
    if (visibility !== 'public' || publicKey === null || homeOf({ key: publicKey }) !== home) return null
    return isClean(publicKey) || !mustBeClean({ mimeType }) ? publicKey : null
  }

  /** The CDN's URL of an object; null if the object is not there. */
  function atCdn(object: Visible): string | null {
    const key = copyOf(object)
    return cdnBaseUrl === undefined || key === null ? null : `${cdnBaseUrl}/${key}`
  }

  return {
    /** The home of public copies. */
    home,
    hasCdn: cdnBaseUrl !== undefined,
    publicOriginals,
    /** Whether non-owners must not get the original. */
    mustBeClean,
    /** Whether non-owners get a copy instead of the original. */
    needsCopy: (object: { mimeType: string }) => cdnBaseUrl !== undefined || mustBeClean(object),
    copyOf,
    atCdn,
    /** Adds the stable URL of an object's bytes: the CDN's if the public copy is there, else this service's. */
    addressed: <T extends StoredObject>(object: T): Addressed<T> => ({
      ...object,
      url: atCdn(object) ?? contentPath(object.id),
    }),
    /** The URL for events: below `baseUrl`, never below the origin that a request used. */
    urlOf: (object: Visible) => atCdn(object) ?? `${baseUrl}${contentPath(object.id)}`,
  }
}

/** The file name of a public copy without metadata; an unchanged copy has the original's name. */
export const CLEAN = 'clean'

/** An object as its public copy under this key, which has another type and name than the original if it is a JPEG of a HEIC. */
export function asCopy<T extends Pick<StoredObject, 'key' | 'mimeType' | 'originalName'>>(object: T, key: string): T {
  const mimeType = isClean(key) ? copyTypeOf(object.mimeType) : object.mimeType
  if (mimeType === object.mimeType) return { ...object, key }
  return { ...object, key, mimeType, originalName: withExtension(object.originalName, extensionOf(mimeType)) }
}

function isClean(key: string): boolean {
  return key.includes(`/${CLEAN}.`)
}

export function contentPath(id: string): string {
  return `/media/${id}/content`
}
