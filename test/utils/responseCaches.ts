/** What the tests of response caches share: an app that counts, inside a cache. */
import { HttpServerRequest, type HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { Forwarded, type Middleware, ResponseCache } from "effect-middleware"
import { stackOf } from "./laws.js"
import { type App, type Mount, mounts, type Reply } from "./TestApp.js"

export type Handler = (
  request: HttpServerRequest.HttpServerRequest,
  run: number
) => App | HttpServerResponse.HttpServerResponse

export interface Setup {
  readonly options?: ResponseCache.Options
  /** Between `Forwarded` and the cache. */
  readonly outside?: ReadonlyArray<Middleware.Any>
  readonly inside?: ReadonlyArray<Middleware.Any>
  readonly trust?: Forwarded.Options["trust"]
  readonly mount?: Mount
}

/** With the store that the test provides. */
export const cached = (
  handler: Handler,
  { inside = [], mount = mounts[0]!, options, outside = [], trust = "none" }: Setup = {}
) =>
  Effect.gen(function*() {
    const requests: Array<HttpServerRequest.HttpServerRequest> = []
    const app: App = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request): App => {
      requests.push(request)
      return handler(request, requests.length) as App
    }) as App
    const cache = ResponseCache.middleware({ jitter: 0, ...options })
    const send = yield* mount.mount(app, stackOf(Forwarded.middleware({ trust }), ...outside, cache, ...inside))
    return {
      send,
      get: (path = "/", headers: Record<string, string> = {}): Effect.Effect<Reply> => send({ path, headers }),
      /** How often the app has been asked. */
      runs: () => requests.length,
      /** What it was asked last. */
      last: () => requests[requests.length - 1]!
    }
  })

export const statusOf = ({ headers }: Reply) => headers["cache-status"]
