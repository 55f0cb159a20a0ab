import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { inCi } from '../process/ci.ts'
import { runToEnd } from '../process/process.ts'

/** Paths of PEM files. */
export type Certificate = { cert: string; key: string }

/** Whether there is OpenSSL's command: without, its tests are skipped at home, loudly, and failed in CI. */
export function haveOpenssl(): boolean {
  if (Bun.which('openssl') !== null) return true
  const missing = 'There is no openssl command: install the package openssl.'
  if (inCi()) throw new Error(missing)
  console.error(`\n*** SKIPPING every test that needs certificates. ${missing}\n`)
  return false
}

/** Makes a CA in `folder`/NAME and a certificate by it for these hosts, both valid for a day. */
export async function createCertificates(
  folder: string,
  { name = 'ca', hosts = 'IP:127.0.0.1,DNS:localhost' } = {},
): Promise<{ ca: string; server: Certificate }> {
  const own = join(folder, name)
  await mkdir(own)
  const file = (of: string) => join(own, of)
  const openssl = (...args: string[]) => runToEnd(['openssl', ...args], { cwd: own })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1']
  const [ca, caKey, cert, serverKey] = ['ca.crt', 'ca.key', 'server.crt', 'server.key'].map(file) as [
    string,
    string,
    string,
    string,
  ]
  await openssl('req', '-x509', ...key, '-subj', `/CN=${name} of the tests`, '-keyout', caKey, '-out', ca)
  const extensions = ['-addext', `subjectAltName=${hosts}`, '-addext', 'basicConstraints=critical,CA:FALSE']
  const signer = ['-CA', ca, '-CAkey', caKey]
  await openssl(
    'req',
    '-x509',
    ...key,
    '-subj',
    '/CN=server',
    ...extensions,
    ...signer,
    '-keyout',
    serverKey,
    '-out',
    cert,
  )
  return { ca, server: { cert, key: serverKey } }
}
