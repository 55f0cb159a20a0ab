/** What others than its owner get of a public object, and from where. */
import { type Addressed, type Home, homeOf, type StoredObject, type Visibility } from '../object/object.ts'

type Published = { id: string; mimeType: string; visibility: Visibility; publicKey: string | null }

export type Publicity = ReturnType<typeof createPublicity>

/** `baseUrl`: where consumers of events reach the service. `publicOriginals`: pictures go as they are, with their metadata. Other files do in any case. */
export function createPublicity(settings: {
  cdnBaseUrl?: string | undefined
  publicOriginals: boolean
  baseUrl: string
}) {
  const { cdnBaseUrl, publicOriginals, baseUrl } = settings
  const home: Home = cdnBaseUrl === undefined ? 'media/' : 'public/'

  const mustBeClean = ({ mimeType }: { mimeType: string }) => !publicOriginals && mimeType.startsWith('image/')

  /** The key of the copy that others get; null while there is none that will do. */
  function copyOf({ mimeType, visibility, publicKey }: Published): string | null {
    if (visibility !== 'public' || publicKey === null || homeOf({ key: publicKey }) !== home) return null
    return publicKey.includes(`/${CLEAN}.`) || !mustBeClean({ mimeType }) ? publicKey : null
  }

  /** The CDN's address of an object; null for what is not there. */
  function atCdn(object: Published): string | null {
    const key = copyOf(object)
    return cdnBaseUrl === undefined || key === null ? null : `${cdnBaseUrl}/${key}`
  }

  return {
    /** Where copies for others are stored. */
    home,
    hasCdn: cdnBaseUrl !== undefined,
    publicOriginals,
    /** Whether others must not get the original. */
    mustBeClean,
    /** Whether others get a copy at all. */
    needsCopy: (object: { mimeType: string }) => cdnBaseUrl !== undefined || mustBeClean(object),
    copyOf,
    atCdn,
    /** The object with the stable address of its bytes: the CDN's for what lies there for everyone, else this service's. */
    addressed: <T extends StoredObject>(object: T): Addressed<T> => ({
      ...object,
      url: atCdn(object) ?? contentPath(object.id),
    }),
    /** That address as events have it: below `baseUrl`, never below what a request calls the service. */
    urlOf: (object: Published) => atCdn(object) ?? `${baseUrl}${contentPath(object.id)}`,
  }
}

/** The file name of a copy without metadata; one that is as it came has the original's. */
export const CLEAN = 'clean'

export function contentPath(id: string): string {
  return `/media/${id}/content`
}
