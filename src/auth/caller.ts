/** Who sent a request. */
export type Role = 'user' | 'service'

/** A known caller. `service` may act for everyone. `expires`: when the token expires, Unix time in milliseconds. */
export type Caller = { userId: string; role: Role; expires?: number }
