import { Layer } from "effect"
import * as Sql from "effect-middleware/RateLimit/Sql"
import { suite } from "../contracts/RateLimitStoreContract.js"
import { Postgres, postgresClient, sqliteClient } from "../utils/sql.js"

/** A store in a table of its own. */
const storeOf = (options?: Sql.Options) =>
  Layer.provideMerge(Sql.layerStore(options), Layer.effectDiscard(Sql.migration(options)))
const patient = { queryTimeout: "30 seconds", cleanup: false } as const

suite("sqlite", storeOf(patient).pipe(Layer.provide(sqliteClient())))
suite("pg", storeOf(patient).pipe(Layer.provide(postgresClient()), Layer.provide(Postgres.layer())))
