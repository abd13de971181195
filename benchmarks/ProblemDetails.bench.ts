import { ProblemDetails } from "effect-middleware"
import { bench, describe } from "vitest"

describe("ProblemDetails.policy", () => {
  const form = ProblemDetails.policy()
  const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
  bench("no Accept", () => void form(undefined))
  bench("anything", () => void form("*/*"))
  bench("JSON", () => void form("application/json"))
  bench("a script in a browser", () => void form("application/json, text/plain, */*"))
  bench("a browser", () => void form(browser))
  bench("nothing that there is", () => void form("image/png, image/*;q=0.5"))

  const one = ProblemDetails.policy({ forms: ["json"] })
  bench("a browser, of one form", () => void one(browser))

  const many = Array.from({ length: 1000 }, (_, i) => `text/x${i};q=0.5`).join(",")
  bench("a thousand ranges", () => void form(many))
  const quoted = "text/html;a=\"b, c;q=0\";q=0.7, text/plain"
  bench("quoted parameters", () => void form(quoted))
})

describe("ProblemDetails.toResponse", () => {
  bench("a status", () => void ProblemDetails.toResponse({ status: 404 }))
  bench("every member", () =>
    void ProblemDetails.toResponse({
      status: 409,
      type: "https://example.com/problems/sold-out",
      title: "Sold out",
      detail: "All 12 are gone",
      instance: "/orders/7",
      extensions: { restockedInDays: 3 }
    }, { headers: { "retry-after": "259200" } }))
})
