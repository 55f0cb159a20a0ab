/** Temporary credentials from the shared MinIO (AssumeRole of its STS), as AWS gives them to roles. */
import { createHash, createHmac } from 'node:crypto'
import { services } from './shared.ts'

export type Session = { accessKeyId: string; secretAccessKey: string; sessionToken: string; expiration: Date }

/** @param seconds 900 at least */
export async function startSession(seconds: number): Promise<Session> {
  const { endpoint, region, accessKeyId, secretAccessKey } = (await services()).s3
  const body = `Action=AssumeRole&Version=2011-06-15&DurationSeconds=${seconds}`
  const { host } = new URL(endpoint)
  const time = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '')
  const scope = `${time.slice(0, 8)}/${region}/sts/aws4_request`
  const headers = `content-type:${FORM}\nhost:${host}\nx-amz-date:${time}\n`
  const names = 'content-type;host;x-amz-date'
  const request = ['POST', '/', '', headers, names, sha256(body)].join('\n')
  const key = scope.split('/').reduce<string | Buffer>((parent, part) => hmac(parent, part), `AWS4${secretAccessKey}`)
  const signature = hmac(key, ['AWS4-HMAC-SHA256', time, scope, sha256(request)].join('\n')).toString('hex')
  const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
  const sent = { authorization, 'content-type': FORM, 'x-amz-date': time }
  const answer = await fetch(`${endpoint}/`, { method: 'POST', headers: sent, body })
  const xml = await answer.text()
  const field = (name: string) => {
    const found = new RegExp(`<${name}>(.*?)</${name}>`).exec(xml)?.[1]
    if (found === undefined) throw new Error(`no ${name} in ${answer.status} ${xml}`)
    return found
  }
  return {
    accessKeyId: field('AccessKeyId'),
    secretAccessKey: field('SecretAccessKey'),
    sessionToken: field('SessionToken'),
    expiration: new Date(field('Expiration')),
  }
}

const FORM = 'application/x-www-form-urlencoded'
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
