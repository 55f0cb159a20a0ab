/** How a caller of the storage port gives up. */
export type Cancel = { signal?: AbortSignal | undefined }
