import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { Csrf, Forwarded, Middleware, Stack } from "effect-middleware"
import { bench, describe } from "vitest"

describe("Csrf.policy", () => {
  const decide = Csrf.policy({ trustedOrigins: ["https://app.example.com"], exceptRoutes: ["POST /hooks/*"] })
  const post = { method: "POST", target: "/transfer", host: "example.com", secure: true }
  const cases = {
    "GET": { ...post, method: "GET" },
    "POST, same-origin": { ...post, fetchSite: "same-origin", origin: "https://example.com" },
    "POST, Origin alone": { ...post, origin: "https://example.com" },
    "POST, trusted": { ...post, fetchSite: "same-site", origin: "https://app.example.com" },
    "POST, cross-site": { ...post, fetchSite: "cross-site", origin: "https://evil.test" }
  }
  for (const [name, facts] of Object.entries(cases)) bench(name, () => void decide(facts))
})

describe("Csrf, in a stack", () => {
  const client = Forwarded.middleware({ trust: "none" })
  const other = Middleware.make({ name: "Other", response: (draft) => draft.set("x-other", "1") })
  const app = Effect.succeed(HttpServerResponse.text("hello"))
  for (const method of ["GET", "POST"]) {
    const request = HttpServerRequest.fromWeb(
      new Request("https://example.com/", { method, headers: { host: "example.com", "sec-fetch-site": "same-origin" } })
    )
    const run = (app: Effect.Effect<unknown, unknown, HttpServerRequest.HttpServerRequest>) => {
      const effect = Effect.provideService(app, HttpServerRequest.HttpServerRequest, request)
      return () => void Effect.runSync(effect)
    }
    bench(`without, ${method}`, run(app.pipe(Stack.make(client, other))))
    bench(`with it, ${method}`, run(app.pipe(Stack.make(client, other, Csrf.middleware()))))
  }
})
