import { HttpsRedirect } from "effect-middleware"
import { bench, describe } from "vitest"

describe("HttpsRedirect.policy", () => {
  const http = { scheme: "http", schemeKnown: true, hostname: "example.com", port: 8080, prefix: undefined } as const
  const https = { ...http, scheme: "https" } as const
  const method = "GET"

  const decide = HttpsRedirect.policy({ others: "refuse" })
  bench("https", () => void decide({ client: https, method, target: "/" }))
  bench("redirected", () => void decide({ client: http, method, target: "/a?b=c" }))
  bench("refused", () => void decide({ client: http, method: "POST", target: "/a?b=c" }))
  bench("exempt", () => void decide({ client: http, method, target: "/.well-known/acme-challenge/token" }))

  const ports = HttpsRedirect.policy({ port: { 80: 443, 8080: 8443 } })
  bench("redirected, to a port of the map", () => void ports({ client: http, method, target: "/a?b=c" }))
  const many = HttpsRedirect.policy({ exceptRoutes: Array.from({ length: 99 }, (_, i) => `GET /r${i}/:id`) })
  bench("redirected, past 100 exempt routes", () => void many({ client: http, method, target: "/a/b" }))
})
