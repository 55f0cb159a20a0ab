import { describe, expect, test } from 'bun:test'
import { availableParallelism, tmpdir } from 'node:os'
import { type Container, decodersIn, readContainer } from '../../src/boot/container.ts'
import { repository } from '../support/repository.ts'

const MiB = 1024 * 1024
const SIZES = { uploadMemoryBytes: 128 * MiB, decoderMemoryBytes: 832 * MiB, decoders: undefined }
const container = (given: Partial<Container>): Container => ({
  memoryBytes: null,
  cpus: null,
  temporaryBytes: 0,
  ...given,
})

/** A container in which the kernel shows these files and no other. */
const containerWith = (files: Record<string, string>) => readContainer(async (path) => files[path] ?? null)

describe('what the container gives', () => {
  test('is in the root of version 2, as in a container', async () => {
    const found = await containerWith({
      '/proc/self/cgroup': '0::/\n',
      '/sys/fs/cgroup/memory.max': '1342177280\n',
      '/sys/fs/cgroup/cpu.max': '150000 100000\n',
      '/proc/mounts': `proc /proc proc rw 0 0\ntmpfs ${tmpdir()} tmpfs rw,nosuid,size=65536k,inode64 0 0\n`,
    })
    expect(found).toEqual({ memoryBytes: 1280 * MiB, cpus: 1.5, temporaryBytes: 64 * MiB })
  })

  test('is the least of all groups that the process is in', async () => {
    const found = await containerWith({
      '/proc/self/cgroup': '0::/system.slice/media.service\n',
      '/sys/fs/cgroup/system.slice/memory.max': '900000000\n',
      '/sys/fs/cgroup/system.slice/media.service/memory.max': 'max\n',
      '/sys/fs/cgroup/system.slice/cpu.max': 'max 100000\n',
      '/sys/fs/cgroup/system.slice/media.service/cpu.max': '400000 100000\n',
    })
    expect(found).toEqual({ memoryBytes: 900_000_000, cpus: 4, temporaryBytes: 0 })
  })

  test('is in a folder for each controller in version 1', async () => {
    const found = await containerWith({
      '/proc/self/cgroup': '9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '536870912\n',
      '/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us': '200000\n',
      '/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us': '100000\n',
    })
    expect(found).toEqual({ memoryBytes: 512 * MiB, cpus: 2, temporaryBytes: 0 })
  })

  test('is nothing where no limit is set, or none is known', async () => {
    const unlimited = await containerWith({
      '/proc/self/cgroup': '9:memory:/\n4:cpu,cpuacct:/\n0::/\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
    })
    for (const found of [unlimited, await containerWith({})])
      expect(found).toEqual({ memoryBytes: null, cpus: null, temporaryBytes: 0 })
  })
})

describe('the number of decoders', () => {
  const GB = 1_000_000_000

  test('is one up to 1.5 GB, whatever the cores', () => {
    expect(decodersIn(container({ memoryBytes: 1.5 * GB, cpus: 8 }), { ...SIZES, decoderMemoryBytes: 300 * MiB })).toBe(
      1,
    )
  })

  test('follows the quota of CPU, as far as memory allows', () => {
    expect(decodersIn(container({ memoryBytes: 16 * GB, cpus: 3.9 }), SIZES)).toBe(3)
    expect(decodersIn(container({ memoryBytes: 16 * GB, cpus: 0.5 }), SIZES)).toBe(1)
    expect(decodersIn(container({ memoryBytes: 3 * GB, cpus: 64 }), SIZES)).toBe(3)
    expect(decodersIn(container({ memoryBytes: 64 * GB }), SIZES)).toBe(Math.min(availableParallelism(), 72))
  })

  test('is what the settings say', () => {
    expect(decodersIn(container({ memoryBytes: 16 * GB, cpus: 1 }), { ...SIZES, decoders: 5 })).toBe(5)
    expect(decodersIn(container({}), { ...SIZES, decoders: 64 })).toBe(64)
  })
})

describe('settings that do not fit into the container', () => {
  test('are refused by name, each with what it takes', () => {
    const small = container({ memoryBytes: 1024 * MiB, temporaryBytes: 64 * MiB })
    expect(() => decodersIn(small, SIZES)).toThrow(
      'The settings need 1274 MB, and the container has 1074 MB: raise its limit, or lower a setting. ' +
        'UPLOAD_MEMORY_BYTES is 135 MB. DECODERS is 1 because it is not set. ' +
        'DECODER_MEMORY_BYTES is 873 MB for each of them. ' +
        'The temporary folder is in memory and may take 68 MB. The service itself takes 200 MB.',
    )
    expect(() => decodersIn(container({ memoryBytes: 2048 * MiB }), { ...SIZES, decoders: 3 })).toThrow(
      'DECODERS is 3.',
    )
  })

  test('do not include the defaults in the container of compose', async () => {
    const [, limit] = /memory: (\d+)M/.exec(await mediaService()) ?? []
    const compose = container({ memoryBytes: Number(limit) * MiB, temporaryBytes: 64 * MiB })
    expect(decodersIn(compose, SIZES)).toBe(1)
  })
})

async function mediaService(): Promise<string> {
  const text = await Bun.file(`${repository}/docker-compose.yml`).text()
  return text.slice(text.indexOf('\n  media:'), text.indexOf('\n  postgres:'))
}
