/** Where the S3 store is and how to sign for it. */
export type S3Settings = {
  /** Absent: AWS in `region`. */
  endpoint: string | undefined
  publicEndpoint: string | undefined
  region: string
  bucket: string
  forcePathStyle: boolean
  /** Absent: the SDK's own chain of credentials. */
  credentials: { accessKeyId: string; secretAccessKey: string } | undefined
}
