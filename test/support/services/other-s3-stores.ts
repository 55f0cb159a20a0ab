/** S3 stores beside MinIO: the storage contract runs on those whose program is there. */
import { withoutServices } from './services.ts'
import { findVersitygw, startVersitygw } from './versitygw.ts'

const programs = [{ name: 'versitygw', find: findVersitygw, start: startVersitygw }]

export const otherS3Stores = programs.map(({ name, find, start }) => {
  const present = !withoutServices() && find() !== undefined
  if (!present && !withoutServices())
    console.error(`\n*** SKIPPING the tests on ${name}: it is not installed. Run test/setup.ts.\n`)
  return { name, present, start }
})
