/** Settings of the S3 store: its endpoints, bucket and credentials. */
export type S3Settings = {
  /** Absent: AWS in `region`. */
  endpoint: string | undefined
  publicEndpoint: string | undefined
  region: string
  bucket: string
  forcePathStyle: boolean
  /** Absent: the SDK's default credential chain. */
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string | undefined } | undefined
}
