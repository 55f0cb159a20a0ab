/** Servers whose certificate is not accepted: how to tell, and what to do about it. */

/** The variables that name the file of a private CA. */
export const CA_VARIABLES = 'NODE_EXTRA_CA_CERTS (on Deno, DENO_CERT)'

/** By the codes of OpenSSL (Node and Bun) and the texts of rustls (Deno). */
export function isCertificateError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? String(error.code) : ''
  return /CERT|VERIFY|ALTNAME|SELF_SIGNED|UNABLE_TO_GET_ISSUER/.test(code) || /certificate/i.test(error.message)
}
