import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck } from "effect"
import { Csrf, Forwarded, MethodOverride, Stack } from "effect-middleware"
import { type App, type Init, mounts, send } from "./utils/TestApp.js"

const echo = Effect.flatMap(
  HttpServerRequest.HttpServerRequest,
  (request) => Effect.map(request.text, (body) => HttpServerResponse.text(`${request.method} ${body}`))
)
const asks = (said: string, method = "POST") => ({ method, headers: { "x-http-method-override": said } })
const form = (body: string, type = "application/x-www-form-urlencoded", method = "POST") => ({
  method,
  body,
  headers: { "content-type": type }
})

describe("policy", () => {
  it.each([
    ["PUT", "PUT"],
    ["patch", "PATCH"],
    [" Delete ", "DELETE"],
    [undefined, "Keep"],
    ["", "Keep"],
    ["post", "Keep"],
    ["GET", "Reject"],
    ["HEAD", "Reject"],
    ["OPTIONS", "Reject"],
    ["CONNECT", "Reject"],
    ["TRACE", "Reject"],
    ["PUT, PUT", "Reject"],
    ["PUT\u0000", "Reject"],
    ["PROPFIND", "Reject"],
    ["constructor", "Reject"],
    [" ".repeat(13) + "PUT", "PUT"],
    [" ".repeat(14) + "PUT", "Reject"]
  ])("%j: %s", (said, expected) => {
    const decision = MethodOverride.policy()(said)
    assert.strictEqual(decision._tag === "Override" ? decision.method : decision._tag, expected)
  })

  it("has what is listed, and nothing beside", () => {
    const decide = MethodOverride.policy({ methods: ["DELETE"] })
    assert.deepStrictEqual(decide("DELETE"), { _tag: "Override", method: "DELETE" })
    assert.deepStrictEqual(decide("PUT"), { _tag: "Reject" })
  })

  it.prop("gives a listed method, or none", [FastCheck.fullUnicodeString()], ([said]) => {
    const decision = MethodOverride.policy()(said)
    if (decision._tag === "Override") assert.include(["PUT", "PATCH", "DELETE"], decision.method)
  })

  it.each([
    ["safe", { methods: ["GET"] as never }, /methods has "GET": a POST becomes PUT, PATCH or DELETE/],
    ["none", { methods: [] }, /methods is empty: list some of PUT, PATCH and DELETE/],
    ["no field", { header: "a b" }, /header is "a b": write the name of a field/],
    ["no name", { form: "" }, /form is empty: write the name of a form's field/],
    ["nothing that says it", { header: false, form: false } as const, /one of them says the method/]
  ])(
    "throws on what cannot be: %s",
    (_, options, message) => assert.throws(() => MethodOverride.middleware(options), message)
  )
})

describe("a request", () => {
  const answer = (init: Init | undefined, options: MethodOverride.Options = {}) =>
    Effect.map(send(MethodOverride.middleware(options)(echo) as App, init), ({ body, status }) => [status, body])
  const both: MethodOverride.Options = { form: "_method" }

  it.effect.each(
    [
      ["is what its header says", asks("put"), {}, [200, "PUT "]],
      ["keeps its method without", { method: "POST", body: "a" }, {}, [200, "POST a"]],
      ["is never changed but as a POST: GET", asks("DELETE", "GET"), both, [200, "GET "]],
      ["is never changed but as a POST: PUT", asks("DELETE", "PUT"), both, [200, "PUT "]],
      ["has another field", { method: "POST", headers: { "x-method": "put" } }, { header: "X-Method" }, [200, "PUT "]],
      ["is not asked by a field that is off", asks("put"), { ...both, header: false }, [200, "POST "]],
      ["is what its form says, and has it still", form("_method=delete&a=1"), both, [200, "DELETE _method=delete&a=1"]],
      ["has a form of any case", form("_method=put", "Application/X-WWW-Form-URLencoded; charset=utf-8"), both, [
        200,
        "PUT _method=put"
      ]],
      ["has a form that says nothing", form("a=1"), both, [200, "POST a=1"]],
      ["has a form, and nobody asks it", form("_method=put"), {}, [200, "POST _method=put"]],
      ["has no form", form("_method=put", "text/plain"), both, [200, "POST _method=put"]],
      ["has a form, and is none that may be changed", form("_method=put", undefined, "PATCH"), both, [
        200,
        "PATCH _method=put"
      ]],
      [
        "says it by both: the header does",
        {
          ...form("_method=put"),
          headers: { "content-type": "application/x-www-form-urlencoded", "x-http-method-override": "PATCH" }
        },
        both,
        [200, "PATCH _method=put"]
      ]
    ] satisfies ReadonlyArray<
      readonly [string, Init, MethodOverride.Options, ReadonlyArray<unknown>]
    >
  )(
    "%s",
    ([, init, options, expected]) =>
      Effect.map(answer(init, options), (found) => assert.deepStrictEqual(found, expected))
  )

  it.effect.each([["header", asks("<GET>")], ["form", form("_method=<GET>")]] as const)(
    "is refused for another method, and is not told which: %s",
    ([, init]) =>
      Effect.gen(function*() {
        const app = MethodOverride.middleware(both)(Effect.die("entered"))
        const { body, headers, status } = yield* send(app as App, init)
        assert.deepStrictEqual([status, headers["content-type"]], [400, "application/problem+json"])
        assert.notInclude(body, "GET")
      })
  )

  it.effect("has said it once: the field is gone", () =>
    Effect.gen(function*() {
      const twice = Stack.make(MethodOverride.middleware(), MethodOverride.middleware({ name: "Second" }))
      const seen = Effect.map(
        HttpServerRequest.HttpServerRequest,
        ({ headers }) => HttpServerResponse.text(`${headers["x-http-method-override"]}`)
      )
      assert.strictEqual((yield* send(twice(seen) as App, asks("PUT"))).body, "undefined")
    }))

  it.effect("is routed by it", () =>
    Effect.gen(function*() {
      const router = HttpRouter.empty.pipe(
        HttpRouter.post("/a", HttpServerResponse.text("posted")),
        HttpRouter.del("/a", HttpServerResponse.text("deleted"))
      )
      const app = router.pipe(MethodOverride.middleware()) as App
      assert.strictEqual((yield* send(app, { path: "/a", ...asks("DELETE") })).body, "deleted")
      assert.strictEqual((yield* send(app, { path: "/a", method: "POST" })).body, "posted")
    }))

  it.effect("is checked by Csrf as what it has become", () =>
    Effect.gen(function*() {
      const stack = Stack.make(
        Forwarded.middleware({ trust: "none" }),
        MethodOverride.middleware(both),
        Csrf.middleware()
      )
      const crossSite = { ...form("_method=delete"), headers: { ...form("").headers, "sec-fetch-site": "cross-site" } }
      assert.strictEqual((yield* send(stack(echo) as App, crossSite)).status, 403)
      assert.strictEqual((yield* send(stack(echo) as App, form("_method=delete"))).body, "DELETE _method=delete")
    }))

  it("is told of by the linter inside Csrf", () => {
    const codes = Stack.lint(
      Stack.make(Forwarded.middleware({ trust: "none" }), Csrf.middleware(), MethodOverride.middleware())
    ).map(({ code }) => code)
    assert.include(codes, "csrf-outside-method")
  })
})

describe.each(mounts.filter(({ handles, router }) => handles && router !== "outside"))("$name", ({ mount }) => {
  it.scoped("a form is read, and the handler has it still", () =>
    Effect.gen(function*() {
      const request = yield* mount(echo as never, MethodOverride.middleware({ form: "_method" }))
      assert.strictEqual((yield* request(form("_method=put&a=1"))).body, "PUT _method=put&a=1")
      assert.strictEqual((yield* request(asks("GET"))).status, 400)
    }))
})
