import type { Persistence as Backing } from "@effect/experimental"
import type { Layer } from "effect"
import type { SessionStore } from "effect-middleware"
import * as Persistence from "effect-middleware/Session/Persistence"
import { typeOf } from "../fixtures.js"

typeOf(Persistence.layerStore()).is<Layer.Layer<SessionStore.SessionStore, never, Backing.BackingPersistence>>()
export const options: Persistence.Options = { storeId: "app", timeout: "1 second" }
// @ts-expect-error the prefix of its keys is the name of a store
Persistence.layerStore({ prefix: "app:" })
