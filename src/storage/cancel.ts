/** The options by which a caller cancels a call to the storage port. */
export type Cancel = { signal?: AbortSignal | undefined }
