import { HttpApp, HttpServerResponse } from "@effect/platform"
import { Middleware, Timeout } from "effect-middleware"
import { bench, describe } from "vitest"

describe("a request through a web handler", () => {
  const ok = HttpServerResponse.text("ok")
  const request = () => new Request("http://localhost/")
  const handlers = {
    without: ok,
    // what a middleware costs that does nothing
    identity: Middleware.make({ name: "Identity", response: () => {} })(ok),
    "the limit": Timeout.middleware({ limit: "10 seconds" })(ok),
    "the body": Timeout.middleware({ limit: Infinity, body: { idle: "10 seconds", total: "1 minute" } })(ok),
    both: Timeout.middleware({ limit: "10 seconds", body: { idle: "10 seconds", total: "1 minute" } })(ok)
  }
  for (const [name, app] of Object.entries(handlers)) {
    const handler = HttpApp.toWebHandler(app)
    bench(name, async () => void await handler(request()))
  }
})
