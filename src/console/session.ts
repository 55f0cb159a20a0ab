/** What the page is told when it opens. */
export type ConsoleSession = {
  /** Null: the visitor brings one, or a gateway does. */
  token: string | null
  /** Whether the request itself said who is calling, as a gateway's do. */
  known: boolean
  /** How files are sent: straight to the store, or through the service in pieces. */
  uploads: 's3' | 'tus'
  allowedTypes: string[]
  maxObjectBytes: number
  retentionSeconds: number
}
