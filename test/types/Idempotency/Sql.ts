import type { HttpApp } from "@effect/platform"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Duration, Effect, Layer } from "effect"
import type { Idempotency, IdempotencyStore } from "effect-middleware"
import * as Sql from "effect-middleware/Idempotency/Sql"
import { same, typeOf } from "../fixtures.js"

// a store, of a client of any database: which ones are supported is known when the layer is built
typeOf(Sql.layerStore()).is<Layer.Layer<IdempotencyStore.IdempotencyStore, never, SqlClient.SqlClient>>()
Sql.layerStore({ table: "keys", queryTimeout: "1 second", maxPending: 100, cleanup: false })
Sql.layerStore({ cleanup: { every: "1 hour", batch: 100 } })
same<Sql.Options["cleanup"], Sql.Cleanup | false | undefined>()
same<Sql.Cleanup["every"], Duration.DurationInput | undefined>()
// @ts-expect-error a time is no text of any kind
Sql.layerStore({ queryTimeout: "soon" })

// a migration, as Migrator takes it
typeOf(Sql.migration()).is<Effect.Effect<void, SqlError, SqlClient.SqlClient>>()
declare const options: Sql.Options
typeOf(Sql.migration(options)).is<Effect.Effect<void, SqlError, SqlClient.SqlClient>>()
same<Sql.TableOptions, { readonly table?: string | undefined }>()

// a handler that needs a claim, and may lose it
declare const handler: HttpApp.Default<"no", "service">
typeOf(handler.pipe(Sql.transaction({ table: "keys" }))).is<
  HttpApp.Default<
    "no" | SqlError | Idempotency.IdempotencyInProgress,
    "service" | SqlClient.SqlClient | Idempotency.Claim
  >
>()
