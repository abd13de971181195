/** The same application on this package. */
import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Redacted } from "effect"
import { Keyring, SessionStore, Stack } from "effect-middleware"
import * as NodeRedis from "effect-middleware/Redis/NodeRedis"
import { layerOn } from "../../servers/apps/effectApp.js"
import { Visit } from "../visit.js"
import { cookieName, counted, greeting, health, seconds, secret, type Variant, visitor } from "../work.js"

const greet = Effect.gen(function*() {
  const visit = yield* Visit
  return HttpServerResponse.unsafeJson(greeting(yield* visit.get))
})

const router = HttpRouter.empty.pipe(
  HttpRouter.get("/health", HttpServerResponse.json(health)),
  HttpRouter.get("/visits", greet),
  HttpRouter.post("/visits", Effect.flatMap(Visit, (visit) => Effect.zipRight(visit.update(counted), greet))),
  HttpRouter.post("/login", Effect.flatMap(Visit, (visit) => Effect.zipRight(visit.set(visitor), greet)))
)

const options = {
  cookie: { name: cookieName },
  maxAge: `${seconds} seconds`
} as const

export const start = (variant: Variant): Promise<number> => {
  const keyring = Keyring.make({ keys: [Redacted.make(secret)] })
  switch (variant) {
    case "signed":
    case "encrypted":
      return layerOn(router.pipe(Stack.serve(Stack.make(Visit.middleware({ ...options, kind: variant, keyring })))))
    default:
      return layerOn(router.pipe(
        Stack.serve(Stack.make(Visit.middleware({ ...options, kind: "stored" }))),
        Layer.provide(SessionStore.layerRedis()),
        Layer.provide(NodeRedis.layer(process.env["REDIS_URL"]!, { commandTimeout: "5 seconds" }))
      ))
  }
}
