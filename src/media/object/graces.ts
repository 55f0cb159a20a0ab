/** Leases and grace periods of writers, in seconds. Bytes can arrive until the last of them has ended. */

/**
 * How long bytes may arrive after a deadline: a PUT may continue after its caller gave up, and a PUT over a link may
 * begin in the link's last second.
 */
export const WRITER_GRACE_SECONDS = 3600

/** How long a writer holds a tus upload without renewal, which is also how long others wait for a dead writer. */
export const UPLOAD_LEASE_SECONDS = 10

/**
 * How long bytes may arrive from the holder of a tus lease, which may be slow to stop; counted from taking or renewing
 * the lease.
 */
export const TUS_LINKS_SECONDS = UPLOAD_LEASE_SECONDS + WRITER_GRACE_SECONDS
