/** How long writers, makers and leases have. Bytes can arrive until the last of these has passed. All in seconds. */

/** A PUT may go on after its caller gave up on it, and a link's PUT may begin in its last second and take its time. */
export const WRITER_GRACE_SECONDS = 3600

/** How long a writer of a tus upload has it to itself unless it renews: as long as others wait for one that died. */
export const UPLOAD_LEASE_SECONDS = 10

/**
 * How long from the beginning or a renewal of a tus lease on bytes can come from its holder, which may be slow to stop.
 */
export const TUS_LINKS_SECONDS = UPLOAD_LEASE_SECONDS + WRITER_GRACE_SECONDS
