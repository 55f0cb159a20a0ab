import { describe, expect } from 'bun:test'
import { newUser, tokenFor } from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { openRawConnection, requestHead } from '../support/http/raw-connection.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { faultTest } from '../support/process/faults.ts'
import { haveServices } from '../support/services/shared.ts'

describe.skipIf(!(await haveServices()))('a client', () => {
  // Without the check of Content-Length in readBody, a body that broke off could be taken for all of it.
  faultTest('that hangs up in the middle of an upload leaves nothing', async (stage) => {
    const user = newUser()
    const content = await readCorpus('accept/astronaut.png')
    const { body, headers } = multipart([{ name: 'file', filename: 'a.png', content }])
    const head = { ...headers, authorization: `Bearer ${await tokenFor(user)}` }
    const framings = [{ 'content-length': String(body.length) }, { 'transfer-encoding': 'chunked' }]
    for (const framing of framings) {
      for (const part of [0.001, 0.5, 0.999]) {
        const connection = await openRawConnection(stage.baseUrl)
        await connection.send(requestHead('POST /media/upload', { ...head, ...framing }))
        const sent = body.subarray(0, Math.floor(body.length * part))
        const chunked = 'transfer-encoding' in framing
        await connection.send(chunked ? `${sent.length.toString(16)}\r\n` : '')
        await connection.send(sent)
        if (chunked) await connection.send('\r\n')
        await Bun.sleep(50)
        connection.destroy()
      }
    }
    await Bun.sleep(500)
    expect(await stage.inside.rowsOf(user)).toEqual([])
    expect(await stage.inside.keys('media/')).toEqual([])
    // And the service goes on as before.
    await stage.uploaded(user)
    expect(stage.service.logs()).not.toContain('"code":"internal"')
  })
})
