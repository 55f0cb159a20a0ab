import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { $ } from 'bun'
import { decodersIn } from '../../src/boot/container.ts'
import { settings } from '../../src/config/settings.ts'
import { canCheckChart, findHelm, findKubeconform, schemaOf } from '../support/process/kubernetes.ts'
import { repository } from '../support/repository.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'

// biome-ignore lint/suspicious/noExplicitAny: manifests, whose schemas kubeconform checks.
type Manifest = any

const chart = join(repository, 'deploy', 'helm')
const sets = (await readdir(join(chart, 'ci'))).sort()
const read = async (file: string): Promise<Manifest> => Bun.YAML.parse(await Bun.file(join(chart, file)).text())
const values = await read('values.yaml')

describe('the values of the chart', () => {
  test('have every setting of the service once, and nothing that is no setting', () => {
    // NODE_ENV, HOST and PORT are the image's, MIGRATE follows from migration.enabled, DATA_DIR is not for production.
    const others = ['DATA_DIR', 'HOST', 'MIGRATE', 'NODE_ENV', 'PORT']
    const here = [...Object.keys(values.settings), ...values.secret.keys, ...others]
    // A new setting goes below `settings`, or `secret.keys`, of deploy/helm/values.yaml.
    expect(here.sort()).toEqual(Object.keys(settings).sort())
  })

  test('take every secret from a Secret', () => {
    const secrets = Object.entries(settings).flatMap(([name, { secret }]) => (secret ? [name] : []))
    expect(values.secret.keys).toEqual(expect.arrayContaining(secrets))
  })

  test('have a schema that knows every setting that is no secret, and nothing else', async () => {
    const { properties } = await Bun.file(join(chart, 'values.schema.json')).json()
    expect(properties.settings.propertyNames.enum).toEqual(Object.keys(values.settings))
    for (const name of values.secret.keys) expect(Object.keys(values.settings)).not.toContain(name)
    const open = (schema: Manifest): string[] =>
      Object.entries<Manifest>(schema.properties ?? {}).flatMap(([name, one]) =>
        one.properties === undefined ? [] : [...(one.additionalProperties === false ? [] : [name]), ...open(one)],
      )
    expect(open({ properties })).toEqual([])
  })

  test('each stand in the schema, and in the documentation', async () => {
    const { properties } = await Bun.file(join(chart, 'values.schema.json')).json()
    expect(Object.keys(values).sort()).toEqual(
      Object.keys(properties)
        .filter((name) => name !== 'global')
        .sort(),
    )
    const text = await Bun.file(join(repository, 'docs', 'kubernetes.md')).text()
    for (const name of Object.keys(values)) expect(text).toContain(`\`${name}`)
  })

  test('give a replica the memory that the service asks for', () => {
    const MiB = 1024 * 1024
    const bytes = (text: string) => Number(/^(\d+)Mi$/.exec(text)?.[1]) * MiB
    const container = {
      memoryBytes: bytes(values.resources.limits.memory),
      temporaryBytes: bytes(values.temporary.sizeLimit),
      cpus: null,
    }
    const number = (name: 'UPLOAD_MEMORY_BYTES' | 'DECODER_MEMORY_BYTES') => Number(settings[name].fallback)
    const uploadMemoryBytes = number('UPLOAD_MEMORY_BYTES')
    const sizes = { uploadMemoryBytes, decoderMemoryBytes: number('DECODER_MEMORY_BYTES'), decoders: undefined }
    expect(decodersIn(container, sizes)).toBe(1)
    expect(Number(settings.TEMPORARY_BYTES.fallback)).toBeLessThan(container.temporaryBytes)
    expect(values.resources.requests.memory).toBe(values.resources.limits.memory)
  })

  test('have the version of the package', async () => {
    const { version } = await Bun.file(join(repository, 'package.json')).json()
    expect(await read('Chart.yaml')).toMatchObject({ version, appVersion: version })
  })
})

describe.skipIf(!canCheckChart())('the chart', () => {
  let folder: Folder
  const rendered = new Map<string, Manifest[]>()
  beforeAll(async () => {
    folder = await createFolder()
    await mkdir(join(folder.path, 'schemas'))
    for (const set of sets) {
      const text =
        await $`${findHelm()} template media ${chart} --kube-version 1.34.0 -f ${join(chart, 'ci', set)}`.text()
      await Bun.write(join(folder.path, set), text)
      rendered.set(set, [Bun.YAML.parse(text)].flat().filter(Boolean))
    }
  }, 90_000)
  afterAll(() => folder?.remove())
  const one = (set: string, kind: string): Manifest => rendered.get(set)?.find((manifest) => manifest.kind === kind)
  const kinds = (set: string) => rendered.get(set)?.map(({ kind }) => kind)

  test.each(sets)(
    'passes helm lint and, strictly, kubeconform with %s',
    async (set) => {
      const lint = await $`${findHelm()} lint ${chart} --strict --quiet -f ${join(chart, 'ci', set)}`.nothrow().quiet()
      expect([lint.exitCode, lint.stdout.toString()]).toEqual([0, ''])
      for (const { apiVersion, kind } of rendered.get(set) ?? [])
        await Bun.write(
          join(folder.path, 'schemas', `${kind.toLowerCase()}.json`),
          JSON.stringify(await schemaOf(apiVersion, kind)),
        )
      const schemas = join(folder.path, 'schemas', '{{.ResourceKind}}.json')
      const check = await $`${findKubeconform()} -strict -summary -schema-location ${schemas} ${join(folder.path, set)}`
        .nothrow()
        .quiet()
      expect([check.exitCode, check.stdout.toString()]).toEqual([
        0,
        expect.stringContaining(`Valid: ${rendered.get(set)?.length}, Invalid: 0, Errors: 0, Skipped: 0`),
      ])
    },
    90_000,
  )

  test('would fail with a field that Kubernetes does not know, or of another type', async () => {
    await Bun.write(
      join(folder.path, 'schemas/deployment.json'),
      JSON.stringify(await schemaOf('apps/v1', 'Deployment')),
    )
    const deployment = one('least-values.yaml', 'Deployment')
    for (const change of [{ replica: 3 }, { replicas: '3' }, { template: { spec: { containers: 1 } } }]) {
      const file = join(folder.path, 'wrong.json')
      await Bun.write(file, JSON.stringify({ ...deployment, spec: { ...deployment.spec, ...change } }))
      const schemas = join(folder.path, 'schemas', '{{.ResourceKind}}.json')
      const check = await $`${findKubeconform()} -strict -schema-location ${schemas} ${file}`.nothrow().quiet()
      expect(check.exitCode).toBe(1)
    }
  })

  test('has each part, and leaves out what is switched off', () => {
    expect(kinds('full-values.yaml')?.sort()).toEqual([
      ...['ConfigMap', 'ConfigMap', 'ConfigMap', 'CronJob', 'Deployment', 'HorizontalPodAutoscaler', 'Job'],
      ...['NetworkPolicy', 'PodDisruptionBudget', 'PrometheusRule', 'Service', 'ServiceAccount', 'ServiceMonitor'],
    ])
    expect(kinds('plain-values.yaml')?.sort()).toEqual(['ConfigMap', 'Deployment', 'Service'])
    expect(one('plain-values.yaml', 'ConfigMap').data.MIGRATE).toBe('true')
    expect(one('least-values.yaml', 'ConfigMap').data.MIGRATE).toBe('false')
  })

  test('runs every container without rights, with files that are read-only', () => {
    const pods = sets.flatMap((set) => (rendered.get(set) ?? []).flatMap(podsOf))
    expect(pods.length).toBeGreaterThan(6)
    for (const pod of pods) {
      expect(pod.automountServiceAccountToken).toBeFalse()
      expect(pod.securityContext).toMatchObject({
        runAsNonRoot: true,
        runAsUser: 1000,
        seccompProfile: { type: 'RuntimeDefault' },
      })
      for (const container of pod.containers) {
        expect(container.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        })
        expect(container.resources.limits.memory).toBeTruthy()
        expect(container.volumeMounts).toContainEqual({ name: 'tmp', mountPath: '/tmp' })
      }
    }
  })

  test('names no secret, and reads each from the Secret', () => {
    const [container] = one('least-values.yaml', 'Deployment').spec.template.spec.containers
    expect(container.env.map(({ name }: { name: string }) => name)).toEqual(values.secret.keys)
    for (const { name, valueFrom } of container.env)
      expect(valueFrom.secretKeyRef).toEqual({ name: 'media-service', key: name, optional: true })
    const job = one('full-values.yaml', 'Job').spec.template.spec.containers[0]
    expect(job.env[0].valueFrom.secretKeyRef).toEqual({ name: 'media-service-owner', key: 'DATABASE_URL' })
  })

  test('gives the service longer to stop than it takes, after its endpoints are gone', () => {
    const { spec } = one('least-values.yaml', 'Deployment').spec.template
    const [, seconds] = spec.containers[0].lifecycle.preStop.exec.command
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(Number(seconds) + 10)
    expect(spec.containers[0].readinessProbe.httpGet.path).toBe('/health/ready')
    expect(spec.containers[0].livenessProbe.httpGet.path).toBe('/health/live')
  })

  test('has names that Kubernetes takes, however long that of the release is', async () => {
    const release = 'r'.repeat(53)
    const file = join(chart, 'ci/full-values.yaml')
    const templates = ['reconcile', 'migration', 'monitoring'].flatMap((name) => ['-s', `templates/${name}.yaml`])
    for (const given of [
      'fullnameOverride=',
      `fullnameOverride=${'n'.repeat(80)}`,
      'fullnameOverride=,nameOverride=x',
    ]) {
      const text =
        await $`${findHelm()} template ${release} ${chart} -f ${file} --set ${given} ${templates} --kube-version 1.34.0`.text()
      const names = [Bun.YAML.parse(text)].flat().map(({ kind, metadata }: Manifest) => [kind, metadata.name.length])
      expect(names.length).toBeGreaterThan(4)
      // The controller of CronJobs adds 11 characters to the name of a Job, and a Job's name is a label of its pods.
      for (const [kind, length] of names) expect(length).toBeLessThanOrEqual(kind === 'CronJob' ? 52 : 63)
    }
  })

  test('lets replicas ask AWS for credentials, unless they have keys', async () => {
    const to = ({ spec }: Manifest) =>
      spec.egress.flatMap((rule: Manifest) =>
        rule.ports.some(({ port }: Manifest) => port === 80) ? rule.to.map((peer: Manifest) => peer.ipBlock.cidr) : [],
      )
    expect(to(one('least-values.yaml', 'NetworkPolicy'))).toEqual(
      expect.arrayContaining(['169.254.169.254/32', '169.254.170.23/32', 'fd00:ec2::23/128']),
    )
    const file = join(chart, 'ci/least-values.yaml')
    const [off, policy] = ['networkPolicy.awsCredentials=false', 'templates/networkpolicy.yaml']
    const text =
      await $`${findHelm()} template media ${chart} -f ${file} --set ${off} -s ${policy} --kube-version 1.34.0`.text()
    expect(to(Bun.YAML.parse(text))).toEqual([])
  })

  test('has the alerts and the dashboard of deploy/, and scales on a metric that an alert knows', async () => {
    const alerts = await Bun.file(join(repository, 'deploy/alerts.yml')).text()
    const maps = rendered.get('full-values.yaml')?.filter(({ kind }) => kind === 'ConfigMap') ?? []
    expect(maps.flatMap(({ data }) => data['media-service.yml'] ?? [])).toEqual([alerts])
    const [dashboard] = maps.flatMap(({ data }) => data['media-service.json'] ?? [])
    expect(JSON.parse(dashboard)).toEqual(await Bun.file(join(repository, 'deploy/grafana.json')).json())
    expect(one('full-values.yaml', 'PrometheusRule').spec).toEqual(Bun.YAML.parse(alerts))
    const [, pods] = one('full-values.yaml', 'HorizontalPodAutoscaler').spec.metrics
    expect(alerts).toContain(pods.pods.metric.name)
  })

  test.each([
    ['image.repository', ['image.repository=']],
    ['settings.PUBLIC_BASE_URL', ['settings.PUBLIC_BASE_URL=null']],
    ['secret.name', ['secret.name=']],
    // Helm would write it as 1.34217728e+08.
    ['UPLOAD_MEMORY_BYTES', ['settings.UPLOAD_MEMORY_BYTES=134217728']],
    ['replica', ['replica=2']],
    ['MAX_UPLOAD_BITES', ['settings.MAX_UPLOAD_BITES=1']],
    // It would stand in the ConfigMap.
    ['AUTH_JWT_SECRET', ['settings.AUTH_JWT_SECRET=a']],
    ['enable', ['monitoring.alerts.enable=true']],
  ])('says that %s is missing or wrong', async (name, given) => {
    const set = given.flatMap((value) => ['--set', value])
    const file = join(chart, 'ci/least-values.yaml')
    const { exitCode, stderr } = await $`${findHelm()} template media ${chart} -f ${file} ${set} --kube-version 1.34.0`
      .nothrow()
      .quiet()
    expect([exitCode, stderr.toString()]).toEqual([1, expect.stringContaining(name)])
  })
})

function podsOf({ kind, spec }: Manifest): Manifest[] {
  if (kind === 'CronJob') return [spec.jobTemplate.spec.template.spec]
  return spec?.template === undefined ? [] : [spec.template.spec]
}
