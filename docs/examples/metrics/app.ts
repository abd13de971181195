import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Metric, Random } from "effect"
import { Forwarded, Metrics, Middleware, RequestId, Stack, TrustedHost } from "effect-middleware"
import * as Prometheus from "./prometheus.js"

/** A metric of the app's own stands beside those of the stack. */
const rolls = Metric.counter("dice.rolls", { description: "Dice rolled.", incremental: true })

export const stack = Stack.make(
  Forwarded.middleware({ trust: "none" }),
  // outside all that may refuse; a scrape every few seconds would only measure itself
  Middleware.exceptRoutes(["GET /metrics"], Metrics.middleware()),
  RequestId.middleware(),
  TrustedHost.middleware({ hosts: ["localhost", "127.0.0.1", "[::1]"] })
)

const roll = Effect.gen(function*() {
  yield* Metric.increment(rolls)
  return HttpServerResponse.text(`${yield* Random.nextIntBetween(1, 7)}\n`)
})

/** For Prometheus and not for everyone: keep the path from the outside, or serve it on a port of its own. */
const metrics = Effect.map(
  Metric.snapshot,
  (snapshot) => HttpServerResponse.text(Prometheus.render(snapshot), { contentType: Prometheus.contentType })
)

export const routes = Layer.mergeAll(
  HttpLayerRouter.add("GET", "/dice/:sides", roll),
  HttpLayerRouter.add("GET", "/slow", Effect.delay(Effect.succeed(HttpServerResponse.text("at last\n")), "700 millis")),
  HttpLayerRouter.add("GET", "/broken", Effect.dieMessage("a defect")),
  HttpLayerRouter.add("GET", "/metrics", metrics)
)

export const server = Stack.serveRouter(routes, stack)
