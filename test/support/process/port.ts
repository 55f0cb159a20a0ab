import getPort, { portNumbers } from 'get-port'

/**
 * A free port of the loopback address, below the range the kernel takes client ports from: nobody's connection occupies
 * it while a service is still starting or is down between two starts.
 */
export async function freePort(): Promise<number> {
  return getPort({ port: portNumbers(10_000 + Math.floor(Math.random() * 20_000), 32_000), host: '127.0.0.1' })
}
