/** The types of connections. */
import type postgres from 'postgres'

/** What the values of these Postgres types are in TypeScript. */
type Types = { bigint: number; json: unknown; boolean: boolean; uuids: string[]; varchars: string[] }
export type Sql = postgres.Sql<Types>
export type TransactionSql = postgres.TransactionSql<Types>
/** A connection, or an open transaction on one. */
export type Queryable = Sql | TransactionSql
/** A part of a statement, with its parameters. */
export type Fragment = postgres.PendingQuery<postgres.Row[]>
