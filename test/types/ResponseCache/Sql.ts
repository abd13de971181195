import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Duration, Effect, Layer } from "effect"
import type { ResponseCacheStore } from "effect-middleware"
import * as Sql from "effect-middleware/ResponseCache/Sql"
import { same, typeOf } from "../fixtures.js"

// a store, of a client of any database: which ones are supported is known when the layer is built
typeOf(Sql.layerStore()).is<Layer.Layer<ResponseCacheStore.ResponseCacheStore, never, SqlClient.SqlClient>>()
Sql.layerStore({ table: "responses", queryTimeout: "1 second", maxPending: 100, cleanup: false })
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
