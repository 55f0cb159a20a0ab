/** Reads the container's limits of memory and CPU, and checks that the settings fit into them. */
import { availableParallelism, tmpdir, totalmem } from 'node:os'
import { type ReadKernelFile, readKernelFile } from '../pictures/system.ts'

/** Limits in bytes and cores; null if there is no limit. */
export type Container = { memoryBytes: number | null; cpus: number | null; temporaryBytes: number }

type Sizes = { uploadMemoryBytes: number; decoderMemoryBytes: number; decoders: number | undefined }

// Memory of the service itself: its program, its heap, and requests other than uploads.
const BASE_BYTES = 200_000_000
// Up to this limit there is one decoder, to leave memory for the rest.
const SMALL_BYTES = 1_500_000_000
// cgroup version 1 reports its largest number of pages when there is no limit.
const NO_LIMIT = 2 ** 60

/** Reads the limits of this process's control group and its ancestors, of version 2 and 1. */
export async function readContainer(read: ReadKernelFile = readKernelFile): Promise<Container> {
  const groups = ((await read('/proc/self/cgroup')) ?? '').split('\n').map((line) => line.split(':'))
  const pathOf = (controller: string) => groups.find(([, names]) => names?.split(',').includes(controller))?.[2] ?? '/'
  const values = async (folder: string, path: string, file: string) => {
    const texts = await Promise.all(upwards(path).map((group) => read(`/sys/fs/cgroup${folder}${group}${file}`)))
    return texts.flatMap((text) => (text === null ? [] : text.trim()))
  }
  const [max, limit, quotas, cfsQuota, cfsPeriod, mounts] = await Promise.all([
    values('', pathOf(''), 'memory.max'),
    values('/memory', pathOf('memory'), 'memory.limit_in_bytes'),
    values('', pathOf(''), 'cpu.max'),
    values('/cpu', pathOf('cpu'), 'cpu.cfs_quota_us'),
    values('/cpu', pathOf('cpu'), 'cpu.cfs_period_us'),
    read('/proc/mounts'),
  ])
  const shares = [
    ...quotas.map((text) => text.split(' ').map(Number)),
    ...cfsQuota.map((quota, at) => [Number(quota), Number(cfsPeriod[at])]),
  ].map(([quota = -1, period = 0]) => quota / period)
  return {
    memoryBytes: least([...max, ...limit].map(Number).filter((bytes) => bytes < NO_LIMIT)),
    cpus: least(shares),
    temporaryBytes: sizeOfTmpfs(mounts ?? '', tmpdir()),
  }
}

/**
 * The number of decoder processes: as set, else one in a small container, else as many as cores and memory allow.
 * @throws Error with one sentence for each setting, when all of them together exceed the container's memory
 */
export function decodersIn(
  { memoryBytes, cpus, temporaryBytes }: Container,
  { uploadMemoryBytes, decoderMemoryBytes, decoders }: Sizes,
): number {
  const others = BASE_BYTES + uploadMemoryBytes + temporaryBytes
  const memory = memoryBytes ?? totalmem()
  const fitting = Math.floor((memory - others) / decoderMemoryBytes)
  const cores = Math.max(1, Math.floor(cpus ?? availableParallelism()))
  const count = decoders ?? (memory <= SMALL_BYTES ? 1 : Math.max(1, Math.min(cores, fitting)))
  const needed = others + count * decoderMemoryBytes
  if (memoryBytes === null || needed <= memoryBytes) return count
  const temporary = temporaryBytes > 0 ? [`The temporary folder is in memory and may take ${mb(temporaryBytes)}.`] : []
  throw new Error(
    [
      `The settings need ${mb(needed)}, and the container has ${mb(memoryBytes)}: raise its limit, or lower a setting.`,
      `UPLOAD_MEMORY_BYTES is ${mb(uploadMemoryBytes)}.`,
      `DECODERS is ${count}${decoders === undefined ? ' because it is not set' : ''}.`,
      `DECODER_MEMORY_BYTES is ${mb(decoderMemoryBytes)} for each of them.`,
      ...temporary,
      `The service itself takes ${mb(BASE_BYTES)}.`,
    ].join(' '),
  )
}

function mb(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`
}

/** A control group and its ancestors: the lowest of their limits applies. In a container, its own group is the root. */
function upwards(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '')
  return ['/', ...names.map((_, at) => `/${names.slice(0, at + 1).join('/')}/`)]
}

function least(numbers: number[]): number | null {
  const set = numbers.filter((number) => Number.isFinite(number) && number > 0)
  return set.length === 0 ? null : Math.min(...set)
}

/** Size in bytes of the tmpfs at this folder; 0 if it is none, or has no size. */
function sizeOfTmpfs(mounts: string, folder: string): number {
  for (const line of mounts.split('\n')) {
    const [, where, type, options = ''] = line.split(' ')
    const size = /(?:^|,)size=(\d+)([kmg]?)(?:,|$)/i.exec(options)
    if (where !== folder || type !== 'tmpfs' || size === null) continue
    return Number(size[1]) * 1024 ** ['', 'k', 'm', 'g'].indexOf((size[2] ?? '').toLowerCase())
  }
  return 0
}
