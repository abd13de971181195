import type { HttpServerRespondable, KeyValueStore } from "@effect/platform"
import { Effect, Layer } from "effect"
import { type Redis, SessionStore } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

// the layers
typeOf(SessionStore.layerMemory()).is<Layer.Layer<SessionStore.SessionStore>>()
typeOf(SessionStore.layerKeyValue()).is<Layer.Layer<SessionStore.SessionStore, never, KeyValueStore.KeyValueStore>>()
typeOf(SessionStore.layerRedis()).is<Layer.Layer<SessionStore.SessionStore, never, Redis.Redis>>()
export const options: readonly [
  SessionStore.MemoryOptions,
  SessionStore.KeyValueOptions,
  SessionStore.RedisOptions
] = [{ capacity: 1 }, { prefix: "app:", timeout: "1 second" }, { prefix: "app:" }]
// @ts-expect-error one of Redis takes its time from the commands
SessionStore.layerRedis({ timeout: "1 second" })

// the port
declare const store: SessionStore.Service
declare const entry: SessionStore.Entry
type Of<A> = Effect.Effect<A, SessionStore.SessionUnavailable>
typeOf(Effect.flatMap(SessionStore.SessionStore, (store) => store.epoch("owner", 0))).is<
  Effect.Effect<number, SessionStore.SessionUnavailable, SessionStore.SessionStore>
>()
typeOf(store.load("a", { now: 0 })).is<Of<SessionStore.Stored | undefined>>()
typeOf(store.create("a", entry, 0)).is<Of<boolean>>()
typeOf(store.save("a", 1, { payload: "", touchedAt: 0, expiresAt: 0 }, 0)).is<Of<SessionStore.Outcome>>()
same<SessionStore.Outcome, "saved" | "conflict" | "missing">()
typeOf(store.destroyAll("owner", { now: 0, except: undefined })).is<Of<number>>()
export const touch: SessionStore.Touch = { every: 1, idle: 1 }
// @ts-expect-error who saves does not change whose it is
store.save("a", 1, { payload: "", touchedAt: 0, expiresAt: 0, owner: "other" }, 0)
// @ts-expect-error an entry says whose it is, even if it is nobody's
store.create("a", { payload: "", createdAt: 0, touchedAt: 0, expiresAt: 0, endsAt: 0 }, 0)
// @ts-expect-error what is loaded is nobody's to change
Effect.map(store.load("a", { now: 0 }), (stored) => stored && (stored.version = 2))

// the failure knows its response
declare const failure: SessionStore.SessionUnavailable
same<typeof failure._tag, "SessionUnavailable">()
export const respondable: HttpServerRespondable.Respondable = failure

// a store of one's own
export const own = Layer.succeed(SessionStore.SessionStore, store)
