/**
 * Every setting of the service, with its documentation, default and check, in one place.
 * The only module that reads the environment.
 */
import process from 'node:process'
import { supportedMimeTypes } from 'file-type'
import { z } from 'zod'
import type { S3Settings } from './storage/s3/settings.ts'

const MiB = 1024 * 1024

const text = z.string()
const bucket = z
  .string()
  .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'expected 3 to 63 lower-case letters, digits, dots and hyphens')
const secret = z.string().min(32, 'expected at least 32 characters')
const httpUrl = z
  .url({ protocol: /^https?$/, error: 'expected an http or https URL' })
  .transform((v) => v.replace(/\/+$/, ''))
const list = z.string().transform((v) =>
  v
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
)
const origins = list.refine(
  (v) => v.every(isOrigin),
  'expected origins like https://app.example.com, comma-separated; no wildcard',
)
const mediaTypes = list.refine((v) => v.length > 0 && v.every(isDetectable), {
  error: ({ input }) =>
    `expected media types that can be detected from the bytes, comma-separated; not so: ${undetectable(input).join(', ') || '(none given)'}`,
})
const whole = (min: number, max: number) => {
  const expected = `expected a whole number from ${min} to ${max}`
  return z
    .string()
    .regex(/^\d{1,16}$/, expected)
    .transform(Number)
    .refine((n) => n >= min && n <= max, expected)
}
const sizes = list
  .refine(
    (v) => v.length > 0 && v.length <= 16 && v.every((size) => /^[1-9]\d{0,3}$/.test(size)),
    'expected 1 to 16 whole numbers from 1 to 9999, comma-separated',
  )
  .transform((v) => [...new Set(v.map(Number))].sort((a, b) => a - b))
const quota = whole(0, 2 ** 50).transform((n) => (n === 0 ? null : n))
const flag = z.enum(['true', 'false'], 'expected true or false').transform((v) => v === 'true')
const seconds = whole(1, 10 * 365 * 86_400)
// SigV4 links are valid for at most seven days (AWS, "Authenticating Requests: Using Query Parameters").
const linkSeconds = whole(1, 7 * 86_400)

type Setting<T> = { doc: string; schema: z.ZodType<T, string>; fallback?: string; secret: boolean }
type Defaulted<T> = Setting<T> & { fallback: string }

const withDefault = <T>(schema: z.ZodType<T, string>, fallback: string | number, doc: string): Defaulted<T> => ({
  doc,
  schema,
  fallback: String(fallback),
  secret: false,
})
const optional = <T>(schema: z.ZodType<T, string>, doc: string): Setting<T> => ({ doc, schema, secret: false })
const optionalSecret = <T>(schema: z.ZodType<T, string>, doc: string): Setting<T> => ({ doc, schema, secret: true })

const settings = {
  NODE_ENV: withDefault(
    z.enum(['development', 'test', 'production'], 'expected development, test or production'),
    'development',
    'In production, the service does not start with an embedded database, store or event bus, or without authentication',
  ),
  PORT: withDefault(whole(1, 65_535), 8080, 'Port to listen on (under `deno serve`, its --port decides)'),
  HOST: withDefault(text, '127.0.0.1', 'Address to listen on (under `deno serve`, its --host decides)'),
  LOG_LEVEL: withDefault(
    z.enum(['debug', 'info', 'warn', 'error'], 'expected debug, info, warn or error'),
    'info',
    'Lowest level that is logged; requests are logged at info, those for health and metrics at debug',
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: optional(httpUrl, 'OpenTelemetry collector (OTLP over HTTP); absent: no traces'),
  PUBLIC_BASE_URL: optional(
    httpUrl,
    "URL under which clients reach the service, used in links and events; may have a path; absent: the request's origin (not in production)",
  ),
  CDN_BASE_URL: optional(
    httpUrl,
    'CDN in front of public/ in the bucket; absent: the service serves public objects through links',
  ),
  PUBLIC_ORIGINALS: withDefault(
    flag,
    'false',
    'Serve public pictures as uploaded, with metadata (GPS position, camera, comments); false: without metadata',
  ),
  CONSOLE: optional(flag, 'Serve the console at /console; absent: only with the development token'),
  CORS_ORIGINS: optional(origins, 'Origins whose pages may call the service, comma-separated; absent: none'),

  DATABASE_URL: optionalSecret(
    z.url({ protocol: /^postgres(ql)?$/, error: 'expected a postgres:// URL' }),
    'Postgres; absent: PGlite under DATA_DIR',
  ),
  REDIS_URL: optionalSecret(
    z.url({ protocol: /^rediss?$/, error: 'expected a redis:// or rediss:// URL' }),
    'Redis for events and rate limits; absent: both stay in this process',
  ),

  S3_ENDPOINT: optional(
    httpUrl,
    'URL of the S3 store for the service; absent: AWS if S3_BUCKET is set, else files in DATA_DIR',
  ),
  S3_PUBLIC_ENDPOINT: optional(httpUrl, 'URL of the same store for clients, used in signed links; absent: S3_ENDPOINT'),
  S3_REGION: withDefault(text, 'us-east-1', 'Region of the store'),
  S3_BUCKET: optional(
    bucket,
    'Bucket, created if it is missing and the key may create it; absent: media if S3_ENDPOINT is set',
  ),
  S3_FORCE_PATH_STYLE: optional(
    flag,
    'Path-style URLs (bucket in the path, not in the host name); absent: true if S3_ENDPOINT is set',
  ),
  AWS_ACCESS_KEY_ID: optional(text, "Access key of the store; absent: the AWS SDK's default credential chain"),
  AWS_SECRET_ACCESS_KEY: optionalSecret(text, 'Secret of that access key'),
  DATA_DIR: withDefault(text, '.data', 'Folder of the embedded database and store'),

  AUTH_JWT_SECRET: optionalSecret(secret, 'Shared secret of HS256 bearer tokens'),
  AUTH_JWKS_URL: optional(httpUrl, "URL of the auth service's public keys (JWKS), which verify bearer tokens"),
  AUTH_ISSUER: optional(text, 'The `iss` a bearer token must have; absent: any'),
  AUTH_AUDIENCE: optional(text, 'The `aud` a bearer token must have; absent: any'),
  GATEWAY_SECRET: optionalSecret(secret, 'X-Gateway-Secret of a gateway whose X-User-Id and X-User-Role are trusted'),
  LINK_SECRET: optionalSecret(
    secret,
    'Key that signs links to the service itself; absent: derived from another secret that all replicas share',
  ),

  MAX_UPLOAD_BYTES: withDefault(whole(1, 1024 * MiB), 32 * MiB, 'Largest file of a direct upload, in bytes'),
  UPLOAD_MEMORY_BYTES: withDefault(
    whole(MiB, 1024 * 1024 * MiB),
    128 * MiB,
    'Memory for the bodies of direct uploads, in bytes',
  ),
  DECODERS: optional(
    whole(1, 64),
    "Number of decoder processes; absent: 1 up to 1.5 GB of memory, else as many as the container's cores and memory allow",
  ),
  DECODER_MEMORY_BYTES: withDefault(
    whole(128 * MiB, 64 * 1024 * MiB),
    832 * MiB,
    'Memory limit of each decoder process, in bytes; a picture that needs more is not decoded',
  ),
  DECODER_CPU_SECONDS: withDefault(whole(1, 3600), 20, 'CPU time limit for decoding one picture, in seconds'),
  TEMPORARY_BYTES: withDefault(
    whole(MiB, 1024 * 1024 * MiB),
    56 * MiB,
    'Bytes of tus uploads buffered in the temporary folder before they are sent to an S3 store',
  ),
  MAX_OBJECT_BYTES: withDefault(
    whole(1, 5 * 1024 * 1024 * MiB),
    5 * 1024 * MiB,
    'Largest file of every other upload, in bytes',
  ),
  ALLOWED_TYPES: withDefault(
    mediaTypes,
    'image/jpeg,image/png,image/webp,image/gif,image/avif',
    'Media types to accept, comma-separated',
  ),
  RATE_LIMIT_PER_MINUTE: withDefault(
    whole(0, 1_000_000),
    6000,
    'Requests per minute for each caller, and for each address of anonymous clients; 0: unlimited',
  ),
  TRUSTED_PROXIES: withDefault(
    whole(0, 10),
    0,
    'Number of trusted proxies that append to X-Forwarded-For; used to rate-limit anonymous clients by address',
  ),
  QUOTA_BYTES: withDefault(quota, 0, 'Quota of one owner in bytes, soft-deleted objects included; 0: unlimited'),
  QUOTA_OBJECTS: withDefault(quota, 0, 'Quota of one owner in objects, soft-deleted ones included; 0: unlimited'),
  MAX_IMAGE_PIXELS: withDefault(
    whole(1, 2 ** 31),
    100_000_000,
    'Pixel limit of a picture (width × height); all frames of an animation together may have ten times as many',
  ),
  RENDITION_SIZES: withDefault(
    sizes,
    '160,320,640,960,1280,1920,2560,3840',
    'Widths and heights of renditions in pixels, comma-separated; a requested size is rounded up to one of them',
  ),
  SIGNED_URL_SECONDS: withDefault(linkSeconds, 900, 'Lifetime of a download link, in seconds'),
  UPLOAD_URL_SECONDS: withDefault(linkSeconds, 900, 'Lifetime of an upload link, in seconds'),
  PENDING_SECONDS: withDefault(seconds, 86_400, 'How long an upload may stay incomplete, in seconds'),
  RETENTION_SECONDS: withDefault(
    seconds,
    30 * 86_400,
    'Retention: how long a soft-deleted object can be restored, in seconds',
  ),
} satisfies Record<string, Setting<unknown>>

type Settings = typeof settings
type Name = keyof Settings
type Values = {
  [N in Name]: Settings[N] extends Defaulted<infer T> ? T : Settings[N] extends Setting<infer T> ? T | undefined : never
}

/** The settings as slices, one for each room that is given any. Sizes are in bytes, times in seconds. */
export type Config = ReturnType<typeof readConfig>

/** All wrong settings: each line names one and says what was expected. */
export class ConfigError extends Error {
  constructor(problems: string[]) {
    super(`The settings are wrong:\n${problems.map((p) => `  ${p}`).join('\n')}`)
    this.name = 'ConfigError'
  }
}

/**
 * Reads and checks all settings. An empty value counts as absent, as Compose passes them.
 * @throws ConfigError that lists every wrong setting, never only the first
 */
export function readConfig(env: Record<string, string | undefined> = process.env) {
  const problems: string[] = []
  const values: Record<string, unknown> = {}
  for (const [name, { schema, fallback }] of Object.entries<Setting<unknown>>(settings)) {
    const given = env[name] || fallback
    if (given === undefined) continue
    const parsed = schema.safeParse(given)
    if (parsed.success) values[name] = parsed.data
    else problems.push(`${name}: ${parsed.error.issues[0]?.message}`)
  }
  problems.push(...contradictions((name) => Boolean(env[name]), values.NODE_ENV === 'production'))
  if (problems.length > 0) throw new ConfigError(problems)
  const defaults = Object.entries<Setting<unknown>>(settings).flatMap(([name, { fallback }]) =>
    fallback === undefined || env[name] ? [] : [name],
  )
  return { ...toConfig(values as Values), defaults }
}

/** The settings as text, one block each: name, documentation, and current value or default (secrets hidden). */
export function describeSettings(env: Record<string, string | undefined> = process.env): string {
  return Object.entries<Setting<unknown>>(settings)
    .map(([name, { doc, fallback, secret }]) => {
      const given = env[name]
      const now = given
        ? `set: ${secret ? '(hidden)' : withoutCredentials(given)}`
        : fallback
          ? `default: ${fallback}`
          : 'not set'
      return `${name}\n  ${doc}\n  ${now}`
    })
    .join('\n')
}

/** Hides user info and query of a URL that is not a secret as a whole: both may hold one. */
function withoutCredentials(value: string): string {
  return value.replace(/\/\/[^/]*@/, '//(hidden)@').replace(/\?.*$/, '?(hidden)')
}

/** Settings that are each valid, but not in this combination. */
function contradictions(isSet: (name: Name) => boolean, production: boolean): string[] {
  const problems: string[] = []
  const needInProduction = (...names: Name[]) => {
    if (production && !names.some(isSet)) problems.push(`${names.join(' or ')}: expected in production`)
  }
  needInProduction('PUBLIC_BASE_URL')
  needInProduction('DATABASE_URL')
  needInProduction('REDIS_URL')
  needInProduction('S3_BUCKET', 'S3_ENDPOINT')
  needInProduction('AUTH_JWT_SECRET', 'AUTH_JWKS_URL', 'GATEWAY_SECRET')
  if (isSet('AWS_ACCESS_KEY_ID') !== isSet('AWS_SECRET_ACCESS_KEY'))
    problems.push('AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: expected both or neither')
  if (isSet('S3_PUBLIC_ENDPOINT') && !isSet('S3_ENDPOINT') && !isSet('S3_BUCKET'))
    problems.push('S3_PUBLIC_ENDPOINT: expected S3_ENDPOINT or S3_BUCKET beside it')
  return problems
}

function toConfig(values: Values) {
  const usesS3 = values.S3_ENDPOINT !== undefined || values.S3_BUCKET !== undefined
  const s3: S3Settings | undefined = usesS3
    ? {
        endpoint: values.S3_ENDPOINT,
        publicEndpoint: values.S3_PUBLIC_ENDPOINT ?? values.S3_ENDPOINT,
        region: values.S3_REGION,
        bucket: values.S3_BUCKET ?? 'media',
        forcePathStyle: values.S3_FORCE_PATH_STYLE ?? values.S3_ENDPOINT !== undefined,
        credentials:
          values.AWS_ACCESS_KEY_ID && values.AWS_SECRET_ACCESS_KEY
            ? { accessKeyId: values.AWS_ACCESS_KEY_ID, secretAccessKey: values.AWS_SECRET_ACCESS_KEY }
            : undefined,
      }
    : undefined
  const { HOST: host, PORT: port } = values
  const allowedTypes: ReadonlySet<string> = new Set(values.ALLOWED_TYPES)
  return {
    listen: { host, port },
    log: { level: values.LOG_LEVEL },
    traces: { endpoint: values.OTEL_EXPORTER_OTLP_ENDPOINT },
    ports: {
      databaseUrl: values.DATABASE_URL,
      redisUrl: values.REDIS_URL,
      s3,
      dataDir: values.DATA_DIR,
      linkSecret: values.LINK_SECRET,
      temporaryBytes: values.TEMPORARY_BYTES,
      rateLimitPerMinute: values.RATE_LIMIT_PER_MINUTE,
      maxObjectBytes: values.MAX_OBJECT_BYTES,
    },
    auth: {
      jwtSecret: values.AUTH_JWT_SECRET,
      jwksUrl: values.AUTH_JWKS_URL,
      issuer: values.AUTH_ISSUER,
      audience: values.AUTH_AUDIENCE,
      gatewaySecret: values.GATEWAY_SECRET,
    },
    http: {
      publicBaseUrl: values.PUBLIC_BASE_URL,
      corsOrigins: values.CORS_ORIGINS ?? [],
      trustedProxies: values.TRUSTED_PROXIES,
      uploadMemoryBytes: values.UPLOAD_MEMORY_BYTES,
      console: values.CONSOLE,
    },
    media: {
      maxUploadBytes: values.MAX_UPLOAD_BYTES,
      maxObjectBytes: values.MAX_OBJECT_BYTES,
      allowedTypes,
      maxImagePixels: values.MAX_IMAGE_PIXELS,
      renditionSizes: values.RENDITION_SIZES,
      signedUrlSeconds: values.SIGNED_URL_SECONDS,
      uploadUrlSeconds: values.UPLOAD_URL_SECONDS,
      pendingSeconds: values.PENDING_SECONDS,
      retentionSeconds: values.RETENTION_SECONDS,
      quotas: { quotaBytes: values.QUOTA_BYTES, quotaObjects: values.QUOTA_OBJECTS },
      cdnBaseUrl: values.CDN_BASE_URL,
      publicOriginals: values.PUBLIC_ORIGINALS,
      // Origin of the URLs in events. On a developer's machine it is the address that the service listens on.
      baseUrl: values.PUBLIC_BASE_URL ?? `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    },
    decoders: {
      allowedTypes,
      decoders: values.DECODERS,
      decoderMemoryBytes: values.DECODER_MEMORY_BYTES,
      decoderCpuSeconds: values.DECODER_CPU_SECONDS,
    },
  }
}

function isOrigin(value: string): boolean {
  return URL.canParse(value) && new URL(value).origin === value && !value.includes('*')
}

function isDetectable(type: string): boolean {
  return (supportedMimeTypes as ReadonlySet<string>).has(type)
}

function undetectable(input: unknown): string[] {
  return Array.isArray(input) ? input.filter((type) => typeof type === 'string' && !isDetectable(type)) : []
}
