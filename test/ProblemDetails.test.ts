import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ProblemDetails } from "effect-middleware"
import { send } from "./utils/TestApp.js"

describe("ProblemDetails", () => {
  it.effect("is a problem by its media type, and is not stored", () =>
    Effect.gen(function*() {
      const reply = yield* send(ProblemDetails.toResponse({ status: 404 }))
      assert.strictEqual(reply.status, 404)
      assert.strictEqual(reply.headers["content-type"], "application/problem+json")
      assert.strictEqual(reply.headers["cache-control"], "no-store")
      assert.deepStrictEqual(JSON.parse(reply.body), { title: "Not Found", status: 404 })
    }))

  it.effect("states every member, and the extensions beside them", () =>
    Effect.gen(function*() {
      const problem = {
        status: 409,
        type: "https://example.com/problems/sold-out",
        title: "Sold out",
        detail: "All 12 are gone",
        instance: "/orders/7"
      }
      const { body } = yield* send(ProblemDetails.toResponse({ ...problem, extensions: { restockedInDays: 3 } }))
      assert.deepStrictEqual(JSON.parse(body), { ...problem, restockedInDays: 3 })
    }))

  it.effect("takes headers, which win over its own", () =>
    Effect.gen(function*() {
      const { headers } = yield* send(
        ProblemDetails.toResponse({ status: 503 }, { headers: { "retry-after": "2", "Cache-Control": "max-age=1" } })
      )
      assert.deepStrictEqual([headers["retry-after"], headers["cache-control"]], ["2", "max-age=1"])
    }))

  it.each([
    [400, "Bad Request"],
    [413, "Content Too Large"],
    [418, "Client Error"],
    [429, "Too Many Requests"],
    [503, "Service Unavailable"],
    [599, "Server Error"]
  ])("%i is titled %s", (status, title) => {
    const { body } = ProblemDetails.toResponse({ status })
    assert.strictEqual(body._tag === "Uint8Array" && JSON.parse(new TextDecoder().decode(body.body)).title, title)
  })

  it.each([200, 302, 399, 600, 404.5, NaN])("throws on %d, which is no error", (status) => {
    assert.throws(() => ProblemDetails.toResponse({ status }), /is not an error; use 400 to 599/)
  })

  it.each(["type", "title", "status", "detail", "instance"])("throws on an extension named %s", (name) => {
    assert.throws(
      () => ProblemDetails.toResponse({ status: 400, extensions: { [name]: 1 } }),
      `"${name}" is a member of every problem`
    )
  })
})
