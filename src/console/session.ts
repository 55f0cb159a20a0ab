/** The settings that the service gives the page when it opens. */
export type ConsoleSession = {
  /** Null: the visitor enters a token, or a gateway adds one. */
  token: string | null
  /** Whether the request was authenticated by itself, as by a gateway. */
  known: boolean
  /** The upload protocol: straight to an S3 store, or tus through the service. */
  uploads: 's3' | 'tus'
  allowedTypes: string[]
  maxObjectBytes: number
  retentionSeconds: number
}
