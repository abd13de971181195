/** What the tests of idempotency share: an app that counts, inside the middleware. */
import { HttpServerRequest, type HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { Idempotency, type Middleware } from "effect-middleware"
import { stackOf } from "./laws.js"
import { type App, type Init, type Mount, mounts } from "./TestApp.js"

export type Handler = (run: number) => Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, never>

export interface Setup {
  readonly options?: Partial<Idempotency.Options>
  readonly outside?: ReadonlyArray<Middleware.Any>
  readonly inside?: ReadonlyArray<Middleware.Any>
  readonly mount?: Mount
}

/** With the store that the test provides. Whose key it is, `x-user` says. */
export const once = (
  handler: (run: number) => Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, unknown>,
  { inside = [], mount = mounts[0]!, options, outside = [] }: Setup = {}
) =>
  Effect.gen(function*() {
    const bodies: Array<string> = []
    const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      Effect.flatMap(Effect.orDie(request.text), (body) => handler(bodies.push(body)))) as App
    const idempotency = Idempotency.middleware({
      scope: ({ request }) =>
        request.headers["x-user"],
      ...options
    })
    const send = yield* mount.mount(app, stackOf(...outside, idempotency, ...inside))
    const post = (key: string | undefined, body = "a", { headers, ...init }: Init = {}) =>
      send({
        method: "POST",
        body,
        ...init,
        headers: { "content-type": "text/plain", ...key !== undefined && { "idempotency-key": key }, ...headers }
      })
    return {
      send,
      post,
      /** How often the handler has run. */
      runs: () => bodies.length,
      /** What it has read. */
      bodies
    }
  })

/** The mounts that are not alike in what they do to a failure, or to a client that leaves. */
export const someMounts = mounts.filter(({ name }) =>
  ["router.pipe", "a route", "Stack.serve, Node", "Stack.serve, NodeServer", "toWebHandler(app, mw)"].includes(name)
)
