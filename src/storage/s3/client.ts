/** The SDK's client for the S3 store, and the handling of its errors. */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { S3Client } from '@aws-sdk/client-s3'
import { unavailable } from '../unavailable.ts'
import { StoreUnfit } from '../unfit.ts'
import type { S3Settings } from './settings.ts'

/**
 * A client for the service's own endpoint. When a call times out, the connections that are idle then may be dead as
 * well, and each would cost another call its deadline: they are closed.
 */
export function createClient({ region, credentials, forcePathStyle, endpoint }: S3Settings): S3Client {
  const httpAgent = new HttpAgent(AGENT)
  const httpsAgent = new HttpsAgent(AGENT)
  const client = new S3Client({
    region,
    forcePathStyle,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials: staticCredentials(credentials) }),
    // By default presigned PUTs include the checksum of an empty body, and older stores refuse the trailer.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    expectContinueHeader: false,
    requestHandler: { connectionTimeout: 3000, httpAgent, httpsAgent },
  })
  client.middlewareStack.add(
    (next) => async (request) => {
      try {
        return await next(request)
      } catch (error) {
        if (isLate(error)) closeIdle(httpAgent, httpsAgent)
        throw error
      }
    },
    { step: 'initialize', name: 'closeIdle' },
  )
  return client
}

function staticCredentials({ sessionToken, ...keys }: NonNullable<S3Settings['credentials']>) {
  return sessionToken === undefined ? keys : { ...keys, sessionToken }
}

/** The URL of S3 at AWS, in whichever partition the region is: China and GovCloud have hosts of their own. */
export function awsEndpoint(region: string): string {
  const client = new S3Client({ region })
  const { url } = client.config.endpointProvider({ Region: region })
  client.destroy()
  return url.origin
}

/** The URL at which the service calls the store. */
export function endpointOf({ endpoint, region }: Pick<S3Settings, 'endpoint' | 'region'>): string {
  return endpoint ?? awsEndpoint(region)
}

export const AGENT = { keepAlive: true, maxSockets: 128 }

/** Whether a call failed because it missed its deadline. */
export function isLate(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError')
}

export function closeIdle(...agents: HttpAgent[]): void {
  for (const { freeSockets } of agents) for (const socket of Object.values(freeSockets).flat()) socket?.destroy()
}

/** Returns the call's result; any error but StoreUnfit becomes Problem `storage_unavailable`. */
export async function reach<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw error instanceof StoreUnfit ? error : unavailable(error)
  }
}
