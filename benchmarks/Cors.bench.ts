import { Cors } from "effect-middleware"
import { bench, describe } from "vitest"

describe("Cors.policy", () => {
  const origin = "https://app.example.com"
  const get = { method: "GET", target: "/", origin }
  const preflight = {
    method: "OPTIONS",
    target: "/",
    origin,
    requestMethod: "PUT",
    requestHeaders: "authorization,content-type"
  }

  const everyone = Cors.policy({ origins: "*", methods: ["PUT"], headers: ["authorization"] })
  bench("every origin", () => void everyone(get))
  bench("every origin, preflight", () => void everyone(preflight))

  const listed = Cors.policy({
    origins: [origin, "https://*.example.org"],
    methods: ["PUT"],
    headers: ["authorization"],
    credentials: true
  })
  bench("no origin", () => void listed({ method: "GET", target: "/", origin: undefined }))
  bench("listed", () => void listed(get))
  bench("wildcard", () => void listed({ ...get, origin: "https://a.example.org" }))
  bench("disallowed", () => void listed({ ...get, origin: "https://evil.test" }))
  bench("listed, preflight", () => void listed(preflight))
  bench("disallowed, preflight", () => void listed({ ...preflight, requestMethod: "PATCH" }))

  const mirrored = Cors.policy({ origins: [origin], methods: "*", headers: "*" })
  bench("mirrored header fields", () => void mirrored(preflight))

  const expression = Cors.policy({ origins: [/https:\/\/[a-z]+\.example\.com/] })
  bench("regular expression", () => void expression(get))

  const routed = Cors.policy({ origins: [origin], routes: [{ match: ["/public/*"], origins: "*" }] })
  bench("a route", () => void routed({ ...get, target: "/public/x" }))
  bench("another route", () => void routed({ ...get, target: "/x" }))
  bench("a spelling of a route", () => void routed({ ...get, target: "/Public/x" }))
})
