/** Tells that a port is taken before anything is opened: the runtime would say so with a stack trace, after all of it was. */
import { createServer } from 'node:net'
import { exitWith } from './exit.ts'

/** Ends the process where the service could not listen there. */
export async function requirePort({ host, port }: { host: string; port: number }): Promise<void> {
  const problem = await portProblem(host, port)
  if (problem !== undefined) exitWith(problem)
}

/** Resolves with why the service could not listen there, for an operator; undefined when it could. */
function portProblem(host: string, port: number): Promise<string | undefined> {
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
