import type { HttpServerRequest, HttpServerRespondable } from "@effect/platform"
import type { Effect } from "effect"
import {
  type BodyLimit,
  Forwarded,
  type Middleware,
  ResponseCache,
  type ResponseCacheStore,
  Stack
} from "effect-middleware"
import { same, session, typeOf } from "./fixtures.js"

type Store = ResponseCacheStore.ResponseCacheStore
type Of<Name extends string = "ResponseCache"> = Middleware.Middleware<
  never,
  ResponseCache.NotCached,
  Store | Forwarded.Client,
  never,
  Name,
  Middleware.Wrapping
>

typeOf(ResponseCache.middleware()).is<Of>()
typeOf(ResponseCache.middleware({ ttl: "300 seconds", jitter: 0, wait: "1 second", name: "Reports" })).is<
  Of<"Reports">
>()
typeOf(
  ResponseCache.middleware({
    cookies: "hide",
    vary: ["accept-language"],
    requestDirectives: false,
    maxEntrySize: "64 KiB",
    cacheStatus: false,
    tags: (request, response) => [request.url, `${response.status}`]
  })
).is<Of>()
same<NonNullable<ResponseCache.Options["maxEntrySize"]>, BodyLimit.Size>()
// @ts-expect-error nobody else's cookies
ResponseCache.middleware({ cookies: "share" })

// the key has the host that the client has asked for, as somebody trusted says it
Stack.make(Forwarded.middleware({ trust: "none" }), ResponseCache.middleware(), session)
Stack.make(
  // @ts-expect-error the client is known only inside Forwarded
  ResponseCache.middleware(),
  Forwarded.middleware({ trust: "none" })
)

// for handlers and operators
typeOf(ResponseCache.tag("a", "b")).is<Effect.Effect<void, never, HttpServerRequest.HttpServerRequest>>()
type Purge = Effect.Effect<void, ResponseCacheStore.ResponseCacheUnavailable, Store>
typeOf(ResponseCache.purgeTag("a")).is<Purge>()
typeOf(ResponseCache.purgeUrl("https://example.com/")).is<Purge>()
typeOf(ResponseCache.purgeAll).is<Purge>()

declare const refusal: ResponseCache.NotCached
same<typeof refusal._tag, "NotCached">()
export const respondable: HttpServerRespondable.Respondable = refusal
