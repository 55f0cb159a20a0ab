/** Tells that a port is taken before anything is opened: the runtime would say so with a stack trace, after all of it was. */
import { createServer } from 'node:net'

/** Resolves with why the service could not listen there, for an operator; undefined when it could. */
export function portProblem(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason =
        error.code === 'EADDRINUSE' ? 'is in use; set PORT to another' : `cannot be listened on: ${error.message}`
      resolve(`PORT: ${port} on ${host} ${reason}`)
    })
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}
