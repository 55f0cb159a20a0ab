/** The authenticated sender of a request. */
export type Role = 'user' | 'service'

/** `service` may act for every user. `expires`: when the token expires, Unix time in milliseconds. */
export type Caller = { userId: string; role: Role; expires?: number }
