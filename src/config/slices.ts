/** Sorts the checked values into slices, one for each room that is given any. */
import type { S3Settings } from '../storage/s3/settings.ts'
import type { Name, Values } from './settings.ts'

export function toSlices(values: Values) {
  const allowedTypes: ReadonlySet<string> = new Set(values.ALLOWED_TYPES)
  return {
    listen: { host: values.HOST, port: values.PORT },
    log: { level: values.LOG_LEVEL },
    traces: { endpoint: values.OTEL_EXPORTER_OTLP_ENDPOINT },
    ports: portsOf(values),
    auth: authOf(values),
    http: httpOf(values),
    media: { allowedTypes, ...mediaOf(values) },
    decoders: { allowedTypes, ...decodersOf(values) },
    backup: { marker: values.BACKUP_MARKER, maxAgeSeconds: values.BACKUP_MAX_AGE_SECONDS },
  }
}

function portsOf(values: Values) {
  return {
    production: values.NODE_ENV === 'production',
    databaseUrl: values.DATABASE_URL,
    migrate: values.MIGRATE,
    databaseConnections: values.DATABASE_CONNECTIONS,
    preparedStatements: values.DATABASE_PREPARED_STATEMENTS,
    redisUrl: values.REDIS_URL,
    redisSentinels: values.REDIS_SENTINELS,
    s3: s3Of(values),
    dataDir: values.DATA_DIR,
    linkSecrets: values.LINK_SECRET,
    temporaryBytes: values.TEMPORARY_BYTES,
    rateLimitPerMinute: values.RATE_LIMIT_PER_MINUTE,
    maxObjectBytes: values.MAX_OBJECT_BYTES,
  }
}

/** Undefined if neither endpoint nor bucket is set: then files are stored on disk. */
function s3Of(values: Values): S3Settings | undefined {
  if (values.S3_ENDPOINT === undefined && values.S3_BUCKET === undefined) return undefined
  return {
    endpoint: values.S3_ENDPOINT,
    publicEndpoint: values.S3_PUBLIC_ENDPOINT ?? values.S3_ENDPOINT,
    region: values.S3_REGION ?? values.AWS_REGION ?? 'us-east-1',
    bucket: values.S3_BUCKET ?? 'media',
    forcePathStyle: values.S3_FORCE_PATH_STYLE ?? values.S3_ENDPOINT !== undefined,
    credentials:
      values.AWS_ACCESS_KEY_ID && values.AWS_SECRET_ACCESS_KEY
        ? {
            accessKeyId: values.AWS_ACCESS_KEY_ID,
            secretAccessKey: values.AWS_SECRET_ACCESS_KEY,
            sessionToken: values.AWS_SESSION_TOKEN,
          }
        : undefined,
  }
}

function authOf(values: Values) {
  return {
    jwtSecrets: values.AUTH_JWT_SECRET,
    jwksUrl: values.AUTH_JWKS_URL,
    issuer: values.AUTH_ISSUER,
    audience: values.AUTH_AUDIENCE,
    gatewaySecrets: values.GATEWAY_SECRET,
    discovers: discovers((name) => Boolean(values[name])),
    userIdNamespace: values.USER_ID_NAMESPACE,
    claims: { user: values.USER_ID_CLAIM, role: values.ROLE_CLAIM },
    headers: { user: values.GATEWAY_USER_HEADER, role: values.GATEWAY_ROLE_HEADER },
    serviceRole: values.SERVICE_ROLE,
  }
}

/** Whether the issuer itself says where its keys are, since nothing else tells callers apart. */
export function discovers(isSet: (name: Name) => boolean): boolean {
  return isSet('AUTH_ISSUER') && !(isSet('AUTH_JWT_SECRET') || isSet('AUTH_JWKS_URL') || isSet('GATEWAY_SECRET'))
}

function httpOf(values: Values) {
  return {
    publicBaseUrl: values.PUBLIC_BASE_URL,
    corsOrigins: values.CORS_ORIGINS ?? [],
    trustedProxies: values.TRUSTED_PROXIES,
    uploadMemoryBytes: values.UPLOAD_MEMORY_BYTES,
    console: values.CONSOLE,
  }
}

function mediaOf(values: Values) {
  const { HOST: host, PORT: port } = values
  return {
    maxUploadBytes: values.MAX_UPLOAD_BYTES,
    maxObjectBytes: values.MAX_OBJECT_BYTES,
    maxImagePixels: values.MAX_IMAGE_PIXELS,
    renditionSizes: values.RENDITION_SIZES,
    signedUrlSeconds: values.SIGNED_URL_SECONDS,
    uploadUrlSeconds: values.UPLOAD_URL_SECONDS,
    // The last look is when the upload expires.
    autoCompleteSeconds: Math.min(values.AUTO_COMPLETE_SECONDS, values.PENDING_SECONDS) || null,
    pendingSeconds: values.PENDING_SECONDS,
    retentionSeconds: values.RETENTION_SECONDS,
    quotas: { quotaBytes: values.QUOTA_BYTES, quotaObjects: values.QUOTA_OBJECTS },
    cdnBaseUrl: values.CDN_BASE_URL,
    publicOriginals: values.PUBLIC_ORIGINALS,
    // Origin of the URLs in events. On a developer's machine it is the address that the service listens on.
    baseUrl: values.PUBLIC_BASE_URL ?? `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
  }
}

function decodersOf(values: Values) {
  return {
    decoders: values.DECODERS,
    decoderMemoryBytes: values.DECODER_MEMORY_BYTES,
    decoderCpuSeconds: values.DECODER_CPU_SECONDS,
  }
}
