/**
 * Whether the long forms run (TEST_LONG=1, as each night): all cases where the test command has those that differ, and
 * each of them on both backends where there it is on one of them.
 */
export const longForms = process.env.TEST_LONG === '1'
