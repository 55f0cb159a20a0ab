/**
 * A store, or a setting of it, that the service cannot work with. The message is one sentence that names the setting;
 * trying again does not help.
 */
export class StoreUnfit extends Error {
  override readonly name = 'StoreUnfit'
}
