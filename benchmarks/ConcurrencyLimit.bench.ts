import { HttpApp, HttpServerResponse } from "@effect/platform"
import { ConcurrencyLimit, Forwarded, Middleware, Stack } from "effect-middleware"
import { bench, describe } from "vitest"
import { Gate } from "../src/internal/gate.js"

describe("a gate", () => {
  const free = new Gate<object>(10, 0, () => {})
  bench("a permit is taken and given back", () => {
    free.take()
    free.release()
  })
  const handing = new Gate<object>(1, 1000, () => {})
  handing.take()
  for (let i = 0; i < 999; i++) handing.wait({})
  bench("a permit is handed on, and who has it waits again behind 999 others", () => {
    handing.wait(handing.release()!)
  })
  const leaving = new Gate<object>(1, 1000, () => {})
  leaving.take()
  for (let i = 0; i < 999; i++) leaving.wait({})
  bench("one waits behind 999 others, and leaves", () => {
    const who = {}
    leaving.wait(who)
    leaving.leave(who)
  })
})

describe("a request through a web handler", () => {
  const ok = HttpServerResponse.text("ok")
  const client = Forwarded.middleware({ trust: "none" })
  const request = () => new Request("http://localhost/")

  const bare = HttpApp.toWebHandler(client(ok))
  bench("without", async () => void await bare(request()))
  // what a middleware costs that only sets a field
  const field = HttpApp.toWebHandler(
    Stack.make(client, Middleware.make({ name: "Field", response: (draft) => draft.set("x-a", "b") }))(ok)
  )
  bench("a field", async () => void await field(request()))
  const global = HttpApp.toWebHandler(Stack.make(client, ConcurrencyLimit.middleware({ permits: 10 }))(ok))
  bench("a permit is free", async () => void await global(request()))
  const keyed = HttpApp.toWebHandler(
    Stack.make(client, ConcurrencyLimit.middleware({ permits: 10, key: "client" }))(ok)
  )
  bench("a permit is free, by client", async () => void await keyed(request()))
  const shed = HttpApp.toWebHandler(
    Stack.make(
      client,
      ConcurrencyLimit.middleware({ permits: 10, shed: { eventLoopDelay: "1 minute", heapUsed: 1, rss: 1 } })
    )(ok)
  )
  bench("a permit is free, and the load is looked at", async () => void await shed(request()))
  const refusing = HttpApp.toWebHandler(
    Stack.make(client, ConcurrencyLimit.middleware({ permits: 10, shed: { rss: 2 } }))(ok)
  )
  bench("refused", async () => void await refusing(request()))
})
