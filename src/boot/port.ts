/** Checks the TCP port before anything is opened; the runtime would report a taken one late, with a stack trace. */
import { createServer } from 'node:net'
import { exitWith } from './exit.ts'

/** Ends the process if the service cannot listen there. */
export async function requirePort({ host, port }: { host: string; port: number }): Promise<void> {
  const problem = await portProblem(host, port)
  if (problem !== undefined) exitWith(problem)
}

/** Resolves with the reason why the service cannot listen there, for an operator; undefined when it can. */
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
