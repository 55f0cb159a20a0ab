import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { inCi } from './ci.ts'
import { findGoProgram } from './go.ts'

/** Modules of Go's proxy: programs, and two that contain the schemas of what Kubernetes and its operator accept. */
export const HELM = 'helm.sh/helm/v3/cmd/helm@v3.22.0'
export const KUBECONFORM = 'github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0'
export const SCHEMAS = [
  'k8s.io/kubernetes@v1.37.2',
  'github.com/prometheus-operator/prometheus-operator@v0.85.0',
] as const

export const findHelm = () => findGoProgram('helm')
export const findKubeconform = () => findGoProgram('kubeconform')

export function findSchemas(): string | undefined {
  return SCHEMAS.every((module) => existsSync(folderOf(module))) ? modules() : undefined
}

/** Whether the chart can be checked, for `describe.skipIf(!canCheckChart())`: without, skipped at home, and failed in CI. */
export function canCheckChart(): boolean {
  const found = { helm: findHelm(), kubeconform: findKubeconform(), "Kubernetes' schemas": findSchemas() }
  const missing = Object.entries(found).flatMap(([name, path]) => (path === undefined ? [name] : []))
  if (missing.length === 0) return true
  const text = `There is no ${missing.join(', no ')}: \`bun test/setup.ts\` gets them.`
  if (inCi()) throw new Error(text)
  console.error(`\n*** SKIPPING the checks of the chart. ${text}\n`)
  return false
}

type Schema = { [name: string]: unknown }
type Kind = { group: string; version: string; kind: string }

/** A schema for one file with everything it refers to, in which unknown fields are errors. */
export async function schemaOf(apiVersion: string, kind: string): Promise<Schema> {
  const [version = '', group = ''] = apiVersion.split('/').reverse()
  if (group === 'monitoring.coreos.com') return operatorSchema(kind)
  definitions ??= Bun.file(join(folderOf(SCHEMAS[0]), 'api/openapi-spec/swagger.json'))
    .json()
    .then((document) => document.definitions)
  const all: Record<string, Schema> = await definitions
  const own = Object.entries(all).find(([, schema]) => {
    const kinds = schema['x-kubernetes-group-version-kind'] as Kind[] | undefined
    return kinds?.some((one) => one.group === group && one.version === version && one.kind === kind)
  })
  if (own === undefined) throw new Error(`Kubernetes knows no ${kind} of ${apiVersion}`)
  const strictly = Object.entries(all).map(([name, schema]) => [name, strict(schema)])
  return { $ref: `#/definitions/${own[0]}`, definitions: Object.fromEntries(strictly) }
}

let definitions: Promise<Record<string, Schema>> | undefined

async function operatorSchema(kind: string): Promise<Schema> {
  const file = `example/prometheus-operator-crd/monitoring.coreos.com_${kind.toLowerCase()}s.yaml`
  const definition = Bun.YAML.parse(await Bun.file(join(folderOf(SCHEMAS[1]), file)).text()) as {
    spec: { versions: { schema: { openAPIV3Schema: Schema } }[] }
  }
  const [version] = definition.spec.versions
  if (version === undefined) throw new Error(`The operator knows no ${kind}`)
  return version.schema.openAPIV3Schema
}

function strict(schema: Schema): Schema {
  // OpenAPI 2 has no way to say it.
  if (schema.format === 'int-or-string') return { type: ['string', 'integer'] }
  return 'properties' in schema && !('additionalProperties' in schema)
    ? { ...schema, additionalProperties: false }
    : schema
}

/** Where Go keeps a module that it has downloaded. */
function folderOf(module: string): string {
  return join(modules(), module)
}

function modules(): string {
  return process.env.GOMODCACHE || join(process.env.GOPATH || join(homedir(), 'go'), 'pkg', 'mod')
}
