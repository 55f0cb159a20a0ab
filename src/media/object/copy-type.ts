/** The type of a copy without metadata: the picture's own, or JPEG for HEIC, which few browsers show. */
export function copyTypeOf(mimeType: string): string {
  return mimeType === 'image/heic' ? 'image/jpeg' : mimeType
}
