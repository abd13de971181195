import { HttpApp, HttpServerResponse } from "@effect/platform"
import { Forwarded, Metrics, Stack } from "effect-middleware"
import { bench, describe } from "vitest"

describe("Metrics.policy", () => {
  const labels = Metrics.policy()
  const facts: Metrics.Facts = {
    method: "GET",
    scheme: "https",
    httpVersion: "1.1",
    status: 200,
    aborted: false,
    route: "/users/:id"
  }
  bench("a known method", () => void labels(facts))
  bench("an unknown method, a failure", () => void labels({ ...facts, method: "MAKE-UP", status: 503 }))
})

describe("a request through a web handler", () => {
  const ok = HttpServerResponse.text("ok")
  const client = Forwarded.middleware({ trust: "none" })
  const handler = (measuring: ReturnType<typeof Metrics.middleware>) =>
    HttpApp.toWebHandler(Stack.make(client, measuring)(ok))
  const request = () => new Request("http://localhost/")

  const bare = HttpApp.toWebHandler(client(ok))
  bench("without", async () => void await bare(request()))
  const everything = handler(Metrics.middleware())
  bench("everything", async () => void await everything(request()))
  const one = handler(Metrics.middleware({ measure: ["duration"] }))
  bench("the duration alone", async () => void await one(request()))
  const labelled = handler(Metrics.middleware({ labels: () => ({ plan: "gold" }) }))
  bench("with a label of one's own", async () => void await labelled(request()))
})
