import { type Finding, SetupError } from '../finding.ts'

/** A store, or a setting of it, that the service cannot work with. */
export class StoreUnfit extends SetupError {
  override readonly name = 'StoreUnfit'

  constructor(finding: Finding, options?: ErrorOptions) {
    super([finding], options)
  }
}
