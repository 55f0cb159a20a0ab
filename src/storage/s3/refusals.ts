/** Turns the store's refusals of calls that the service needs into one sentence each, which names setting and remedy. */
import { type S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { findingsAbout } from '../../finding.ts'
import { StoreUnfit } from '../unfit.ts'
import type { S3Settings } from './settings.ts'

/** Makes every refused call of this client reject with StoreUnfit. For calls at start: they have a single remedy. */
export function explainRefusals(client: S3Client, settings: Pick<S3Settings, 'bucket' | 'region'>): void {
  client.middlewareStack.add(
    (next, { commandName = '' }) =>
      async (args) => {
        try {
          return await next(args)
        } catch (error) {
          throw explained(error, commandName.replace(/Command$/, ''), settings)
        }
      },
    { step: 'initialize', name: 'explainRefusals', priority: 'high' },
  )
}

function explained(error: unknown, operation: string, { bucket, region }: Pick<S3Settings, 'bucket' | 'region'>) {
  if (error instanceof Error && error.name === 'CredentialsProviderError')
    return new StoreUnfit(
      wrong(
        'AWS_ACCESS_KEY_ID',
        `not set, and the AWS SDK finds no credentials: ${error.message}`,
        'set it, or give the process a profile or a role',
      ),
    )
  if (!(error instanceof S3ServiceException)) return error
  const { name, message, $metadata } = error
  const status = $metadata.httpStatusCode
  const known = KNOWN[name]
  if (known !== undefined) {
    const [setting, problem, remedy] = known
    return new StoreUnfit(wrong(setting, `${problem} (${operation}: ${name}: ${message})`, remedy), { cause: error })
  }
  if (REGION_ERRORS.has(name))
    return new StoreUnfit(
      wrong(
        'S3_REGION',
        `the bucket ${bucket} is not in ${region} (${operation}: ${message})`,
        "set it to the bucket's region",
      ),
      { cause: error },
    )
  if (status !== 403) return error
  const right = RIGHTS[operation] ?? `s3:${operation}`
  return new StoreUnfit(
    wrong('S3_BUCKET', `${bucket}: ${operation}: 403: ${right} is needed`, 'add it to the policy of the key'),
    { cause: error },
  )
}

const { wrong } = findingsAbout('store')

/** By the store's code. */
const KNOWN: Record<string, [setting: string, problem: string, remedy: string]> = {
  InvalidAccessKeyId: [
    'AWS_ACCESS_KEY_ID',
    'the store does not know this access key',
    'set the key of an account there',
  ],
  SignatureDoesNotMatch: [
    'AWS_SECRET_ACCESS_KEY',
    'not the secret of this access key, or something between here and S3_ENDPOINT changes requests',
    'set the secret of that key',
  ],
  ExpiredToken: ['AWS_SESSION_TOKEN', 'the session has ended', 'get a new session'],
  InvalidToken: ['AWS_SESSION_TOKEN', 'not the token of this access key', 'set key, secret and token of one session'],
  RequestTimeTooSkewed: [
    'S3_ENDPOINT',
    "the store's clock and that of this machine differ by more than 15 minutes",
    'set both by NTP',
  ],
  InvalidBucketName: ['S3_BUCKET', 'the store does not accept this name', 'choose another one'],
}

const REGION_ERRORS = new Set([
  'PermanentRedirect',
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
])

/** Operations whose IAM action has another name. */
const RIGHTS: Record<string, string> = {
  HeadBucket: 's3:ListBucket',
  ListObjectsV2: 's3:ListBucket',
  HeadObject: 's3:GetObject',
  CopyObject: 's3:GetObject with s3:PutObject',
  DeleteObjects: 's3:DeleteObject',
  CreateMultipartUpload: 's3:PutObject',
  CompleteMultipartUpload: 's3:PutObject',
  ListParts: 's3:ListMultipartUploadParts',
  ListMultipartUploads: 's3:ListBucketMultipartUploads',
}
