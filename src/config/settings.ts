/** Every setting of the service, with its documentation, default and check. */
import { z } from 'zod'
import {
  bucket,
  databaseUrl,
  flag,
  headerName,
  httpUrl,
  linkSeconds,
  MiB,
  mediaTypes,
  origins,
  quota,
  redisSentinels,
  seconds,
  secrets,
  sizes,
  text,
  uuid,
  whole,
} from './values.ts'

export const settings = {
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

  DATABASE_URL: optionalSecret(databaseUrl, 'Postgres; absent: PGlite under DATA_DIR'),
  DATABASE_CONNECTIONS: optional(
    whole(2, 500),
    'Most connections to Postgres at once; absent: `connection_limit` of DATABASE_URL, else 8',
  ),
  DATABASE_PREPARED_STATEMENTS: optional(
    flag,
    'Prepare statements; false behind a pooler that does not carry them; absent: found out at start',
  ),
  MIGRATE: withDefault(
    flag,
    'true',
    'Apply new migrations at startup; false: start only on the schema of this version, which `bun run migrate` makes',
  ),
  REDIS_URL: optionalSecret(
    z.url({ protocol: /^rediss?$/, error: 'expected a redis:// or rediss:// URL' }),
    'Redis, or a node of a Redis cluster, for events and rate limits; absent: both stay in this process',
  ),
  REDIS_SENTINELS: optionalSecret(
    redisSentinels,
    'Redis Sentinels as [user:password@]host:port, comma-separated; the host of REDIS_URL is then the name of the master',
  ),

  S3_ENDPOINT: optional(
    httpUrl,
    'URL of the S3 store for the service; absent: AWS if S3_BUCKET is set, else files in DATA_DIR',
  ),
  S3_PUBLIC_ENDPOINT: optional(httpUrl, 'URL of the same store for clients, used in signed links; absent: S3_ENDPOINT'),
  S3_REGION: optional(text, 'Region of the store; absent: AWS_REGION, else us-east-1'),
  AWS_REGION: optional(
    text,
    'Region of the store where S3_REGION is absent, as AWS sets it for containers and functions',
  ),
  S3_BUCKET: optional(
    bucket,
    'Bucket, created if it is missing and the key may create it; absent: media if S3_ENDPOINT is set',
  ),
  S3_FORCE_PATH_STYLE: optional(
    flag,
    'Path-style URLs (bucket in the path, not in the host name); absent: true if S3_ENDPOINT is set',
  ),
  AWS_ACCESS_KEY_ID: optional(
    text,
    "Access key of the store; absent: the AWS SDK's default credential chain (AWS_PROFILE, web identity, ECS, EC2)",
  ),
  AWS_SECRET_ACCESS_KEY: optionalSecret(text, 'Secret of that access key'),
  AWS_SESSION_TOKEN: optionalSecret(text, 'Session token of that access key, if it is a temporary one'),
  DATA_DIR: withDefault(text, '.data', 'Folder of the embedded database and store'),

  AUTH_JWT_SECRET: optionalSecret(
    secrets,
    'Shared secret of HS256 bearer tokens; two, comma-separated, while one takes the place of the other',
  ),
  AUTH_JWKS_URL: optional(
    httpUrl,
    "URL of the auth service's public keys (JWKS), or of an OpenID configuration that names it",
  ),
  AUTH_ISSUER: optional(
    text,
    'The `iss` a bearer token must have; absent: any. Without any other AUTH_ setting for keys and without GATEWAY_SECRET, the keys are those that it publishes (OpenID Connect Discovery)',
  ),
  AUTH_AUDIENCE: optional(text, 'The `aud` a bearer token must have; absent: any'),
  USER_ID_NAMESPACE: optional(
    uuid,
    'UUID in which users named by other strings than UUIDs, and by UUIDs of version 5, get their UUID of version 5; never to be changed; needs AUTH_ISSUER; absent: users are named by UUIDs',
  ),
  USER_ID_CLAIM: withDefault(text, 'sub', "Path of a token's claim with the user, a string, such as `app_metadata.id`"),
  ROLE_CLAIM: withDefault(
    text,
    'role',
    "Path of a token's claim with the role, a string or a list, such as `realm_access.roles`",
  ),
  SERVICE_ROLE: withDefault(
    text,
    'service',
    'Value of that claim, or of GATEWAY_ROLE_HEADER, with which a caller may act for every user',
  ),
  GATEWAY_SECRET: optionalSecret(
    secrets,
    'X-Gateway-Secret of a gateway whose headers with the user and the role are trusted; two, comma-separated, while one takes the place of the other',
  ),
  GATEWAY_USER_HEADER: withDefault(headerName, 'X-User-Id', 'Header with the user, from a gateway with that secret'),
  GATEWAY_ROLE_HEADER: withDefault(headerName, 'X-User-Role', 'Header with the role, from a gateway with that secret'),
  LINK_SECRET: optionalSecret(
    secrets,
    'Key that signs links to the service itself; two, comma-separated: the first signs, both are accepted; absent: derived from another secret that all replicas share',
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
    'image/jpeg,image/png,image/webp,image/gif,image/avif,image/heic',
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
  AUTO_COMPLETE_SECONDS: withDefault(
    whole(0, 86_400),
    60,
    'How long after an upload link the service first looks whether the bytes have arrived, to complete the upload itself, in seconds; 0: only the client completes',
  ),
  PENDING_SECONDS: withDefault(seconds, 86_400, 'How long an upload may stay incomplete, in seconds'),
  RETENTION_SECONDS: withDefault(
    seconds,
    30 * 86_400,
    'Retention: how long a soft-deleted object can be restored, in seconds',
  ),
  BACKUP_MARKER: optional(
    text,
    'File, or http(s) URL, that each backup writes anew when it has ended; read by `bun run doctor` only',
  ),
  BACKUP_MAX_AGE_SECONDS: withDefault(
    seconds,
    26 * 3600,
    'Age of the last backup from which on `bun run doctor` reports it, in seconds',
  ),
} satisfies Record<string, Setting<unknown>>

/** `doc` is shown by `bun run config`, and so is the value unless it is a secret. */
export type Setting<T> = { doc: string; schema: z.ZodType<T, string>; fallback?: string; secret: boolean }
type Defaulted<T> = Setting<T> & { fallback: string }

type Settings = typeof settings
export type Name = keyof Settings
/** The checked values by name. */
export type Values = {
  [N in Name]: Settings[N] extends Defaulted<infer T> ? T : Settings[N] extends Setting<infer T> ? T | undefined : never
}

function withDefault<T>(schema: z.ZodType<T, string>, fallback: string | number, doc: string): Defaulted<T> {
  return { doc, schema, fallback: String(fallback), secret: false }
}

function optional<T>(schema: z.ZodType<T, string>, doc: string): Setting<T> {
  return { doc, schema, secret: false }
}

function optionalSecret<T>(schema: z.ZodType<T, string>, doc: string): Setting<T> {
  return { doc, schema, secret: true }
}
