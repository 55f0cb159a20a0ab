/** No tus uploads, for stores on which their parts could be lost without a sign. */
import { Problem } from '../../problem.ts'
import type { TusStores } from '../tus.ts'

export const noTus: TusStores = {
  available: false,
  open() {
    throw new Problem('state_conflict', 'This store keeps parts that arrived in half: use presign, or upload.')
  },
  hasAll: async () => null,
  contended: () => false,
  room: () => ({ limit: 0, reserved: 0, waiting: 0 }),
  close() {},
}
