import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { findActionlint, haveActionlint } from './support/process/actionlint.ts'
import { repository } from './support/repository.ts'

type Step = { uses?: string; run?: string }
type Workflow = {
  permissions: unknown
  jobs: Record<
    string,
    { permissions?: unknown; container?: string | { image: string }; 'timeout-minutes'?: number; steps: Step[] }
  >
}

const files = [...new Bun.Glob('.github/workflows/*.yml').scanSync({ cwd: repository, dot: true })]
const read = async (file: string) => Bun.YAML.parse(await Bun.file(join(repository, file)).text()) as Workflow
const workflows = await Promise.all(files.map(read))
const jobs = workflows.flatMap((workflow) => Object.values(workflow.jobs))
const steps = jobs.flatMap((job) => job.steps)

test.skipIf(!haveActionlint())('the workflows are ones that GitHub can run', () => {
  // Without the programs that it uses where they happen to be there.
  const command = [findActionlint() ?? '', '-shellcheck=', '-pyflakes=', ...files]
  const { exitCode, stdout } = Bun.spawnSync(command, { cwd: repository })
  expect([exitCode, stdout.toString()]).toEqual([0, ''])
})

test('a workflow runs the test command of the README, and one builds the image', async () => {
  const readme = await Bun.file(join(repository, 'README.md')).text()
  const [, command] = /^All tests[^`]*```sh\n(.+)\n```/m.exec(readme) ?? []
  const commands = steps.map(({ run }) => run)
  expect(command).toContain('run test')
  expect(commands).toContain(command)
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is GitHub's.
  expect(commands).toContain('docker build --tag media-service --build-arg REVISION=${{ github.sha }} .')
})

test("a tag's workflow tests the client's package, and attaches the file that the README names", async () => {
  const readme = await Bun.file(join(repository, 'README.md')).text()
  const { version } = await Bun.file(join(repository, 'src/client/package.json')).json()
  const [, file] = /npm install https:\S+\/releases\/download\/(\S+)/.exec(readme) ?? []
  expect(file).toBe(`v${version}/media-service-client-${version}.tgz`)
  const { on, jobs } = (await read('.github/workflows/release.yml')) as Workflow & { on: unknown }
  expect(on).toEqual({ push: { tags: ['v*'] } })
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's.
  const built = '"dist/media-service-client-${GITHUB_REF_NAME#v}.tgz"'
  const commands = jobs.client?.steps.flatMap(({ run }) => run ?? []) ?? []
  const [tested, attached] = ['CLIENT_TARBALL=', 'gh release create'].map((words) =>
    commands.findIndex((command) => command.startsWith(words) && command.includes(built)),
  )
  expect(commands.indexOf('npx -y bun@1.4.5 run pack:client')).toBeGreaterThan(0)
  expect(tested).toBeGreaterThan(commands.indexOf('npx -y bun@1.4.5 run pack:client'))
  expect(attached).toBeGreaterThan(tested ?? Number.POSITIVE_INFINITY)
})

test('the workflows may do no more than read, and run what was looked at', () => {
  for (const { permissions } of workflows) expect(permissions).toEqual({ contents: 'read' })
  for (const [name, job] of workflows.flatMap((workflow) => Object.entries(workflow.jobs))) {
    // Making a release is the one thing that writes.
    const makesRelease = job.steps.some(({ run }) => run?.startsWith('gh release create '))
    expect([name, job.permissions]).toEqual([name, makesRelease ? { contents: 'write' } : undefined])
    expect(job['timeout-minutes']).toBeGreaterThan(0)
    const container = typeof job.container === 'object' ? job.container.image : job.container
    if (container !== undefined) expect(container).toMatch(/:\d+\.\d+\.\d+/)
  }
  const actions = steps.flatMap(({ uses }) => uses ?? [])
  expect(actions.length).toBeGreaterThan(0)
  for (const action of actions) expect(action).toMatch(/^[\w.-]+\/[\w./-]+@[0-9a-f]{40}$/)
})
