import { HttpServerRequest } from "@effect/platform"
import { Schema } from "effect"
import { type Middleware, Validate } from "effect-middleware"
import { bench, describe } from "vitest"
import { type Phase, phasesOf } from "../src/internal/kernel.js"

describe("Validate.contentTypePolicy", () => {
  const passes = Validate.contentTypePolicy(["application/json", "text/*", "application/*+json"])
  const ask = (contentType: string | undefined, hasContent = true) => () => void passes({ contentType, hasContent })
  bench("no content", ask(undefined, false))
  bench("listed", ask("application/json"))
  bench("listed, with parameters, in capitals", ask("Application/JSON; charset=utf-8"))
  bench("a wildcard", ask("text/plain"))
  bench("a suffix", ask("application/problem+json"))
  bench("refused", ask("application/xml"))
  bench("malformed", ask("text/plain, application/xml"))
  bench("blanks as far as Node lets them in", ask(`a${" ".repeat(16_000)}x`))
})

/** The phase of the middleware by itself: what a request costs beside the rest of its stack. */
describe("Validate.Query", () => {
  class Paging extends Validate.Query("bench/Paging")<Paging>()(Schema.Struct({
    limit: Schema.optionalWith(Schema.NumberFromString.pipe(Schema.int(), Schema.between(1, 100)), {
      default: () => 20
    }),
    tag: Schema.optional(Schema.Array(Schema.String))
  })) {}
  const [{ request: phase }] = phasesOf(Paging.middleware()) as readonly [Phase]
  const ask = (search: string) => {
    const request = HttpServerRequest.fromWeb(new Request(`http://localhost/notes${search}`))
    return () => void phase!({ request } as Middleware.Exchange)
  }
  bench("no query", ask(""))
  bench("one value", ask("?limit=5"))
  bench("a list", ask("?limit=5&tag=a&tag=b&tag=c"))
  bench("refused", ask("?limit=many"))
  bench("a thousand names that nobody knows", ask(`?${Array.from({ length: 1000 }, (_, i) => `k${i}=1`).join("&")}`))
})
