/** Runs a command on an opened service and closes the service afterwards. */
import process from 'node:process'
import { openService, type Service } from '../boot/service.ts'
import { type Config, readConfig } from '../config/config.ts'
import { createLog, openLogOutput } from '../log.ts'

/** When the service cannot be opened or the command fails, prints why and exits with code 1. */
export async function runCommand(command: (service: Service, config: Config) => Promise<void>): Promise<void> {
  try {
    const config = readConfig()
    const { now: output } = await openLogOutput()
    const service = await openService(config, createLog({ level: config.log.level, output }))
    try {
      await command(service, config)
    } finally {
      await service.close()
    }
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
}
