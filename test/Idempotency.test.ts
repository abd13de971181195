import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import {
  Context,
  Data,
  Deferred,
  Effect,
  FastCheck,
  Fiber,
  Layer,
  Option,
  Redacted,
  Stream,
  TestClock,
  TestContext
} from "effect"
import {
  Authentication,
  BodyLimit,
  HttpException,
  Idempotency,
  IdempotencyStore,
  Middleware,
  RateLimit,
  Timeout
} from "effect-middleware"
import { once, someMounts } from "./utils/idempotency.js"
import { answered } from "./utils/laws.js"
import { mounts, type Reply } from "./utils/TestApp.js"

const memory = IdempotencyStore.layerMemory()
const created = (run: number) =>
  HttpServerResponse.text(`no. ${run}`, { status: 201, headers: { location: `/${run}`, "x-odd": "é\t\"," } })

const node = mounts.find(({ name }) => name === "Stack.serve, Node")!
const own = mounts.find(({ name }) => name === "Stack.serve, NodeServer")!

const isReplay = ({ headers }: Reply) => headers["idempotency-replayed"] === "true"
/** What is the same of an answer that is given again: all but what a server says of a connection, and of its framing. */
const given = ({ body, cookies, headers, status }: Reply) => ({
  body,
  cookies,
  headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !ofServer.has(name))),
  status
})
const ofServer = new Set([
  "connection",
  "content-length",
  "date",
  "idempotency-replayed",
  "keep-alive",
  "transfer-encoding"
])
const titleOf = ({ body }: Reply): string => JSON.parse(body).title

/** A handler that waits until it is let go. */
const gated = Effect.gen(function*() {
  const [entered, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
  return {
    entered: Deferred.await(entered),
    open: Deferred.succeed(gate, undefined),
    handler: (run: number) =>
      Effect.zipRight(Deferred.succeed(entered, undefined), Deferred.await(gate)).pipe(Effect.as(created(run)))
  }
})

/** Real time for what is not waited for by anybody. */
const soon = <A, E, R>(effect: Effect.Effect<A, E, R>, is: (a: A) => boolean) =>
  Effect.zipRight(Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1))), effect).pipe(
    Effect.repeat({ until: is, times: 3000 })
  )

describe.each(someMounts)("$name", (mount) => {
  it.scoped("gives again what was answered, and runs the handler once", () =>
    Effect.gen(function*() {
      const { bodies, post, runs } = yield* once((run) => Effect.succeed(created(run)), { mount })
      const first = yield* post("\"a\"", "body")
      assert.strictEqual(first.status, 201)
      assert.isFalse(isReplay(first))
      for (let i = 0; i < 2; i++) {
        const again = yield* post("\"a\"", "body")
        assert.isTrue(isReplay(again))
        assert.deepStrictEqual(given(again), given(first))
        assert.strictEqual(again.headers["idempotency-ttl"], "86400")
      }
      assert.strictEqual((yield* post("\"b\"", "body")).body, "no. 2")
      assert.strictEqual((yield* post(undefined, "body")).body, "no. 3")
      assert.strictEqual((yield* post(undefined, "body")).body, "no. 4")
      assert.deepStrictEqual(bodies, ["body", "body", "body", "body"])
      assert.strictEqual(runs(), 4)
    }).pipe(Effect.provide(memory)))

  it.scoped("of those that come together one runs, the others are told to come again", () =>
    Effect.gen(function*() {
      const { entered, handler, open } = yield* gated
      const { post, runs } = yield* once(handler, { mount })
      const replies = yield* Effect.forEach(Array.from({ length: 8 }), () => Effect.fork(post("\"a\"")))
      yield* answered(entered)
      const others = yield* answered(Effect.replicateEffect(post("\"a\""), 4))
      for (const { headers, status } of others) {
        assert.strictEqual(status, 409)
        assert.strictEqual(headers["retry-after"], "1")
        assert.strictEqual(headers["content-type"], "application/problem+json")
      }
      yield* open
      const all = yield* answered(Effect.forEach(replies, Fiber.join))
      assert.isAtLeast(all.filter(({ status }) => status === 201).length, 1)
      assert.isTrue(all.every(({ status }) => status === 201 || status === 409))
      assert.strictEqual((yield* post("\"a\"")).body, "no. 1")
      assert.strictEqual(runs(), 1)
    }).pipe(Effect.provide(memory)))

  it.scoped("a failure with an answer is kept; a defect, and what a middleware refuses, is not", () =>
    Effect.gen(function*() {
      let refuses = true
      const door = Middleware.make({
        name: "Door",
        request: () => refuses ? Middleware.Refuse(new Closed()) : undefined
      })
      const { post, runs } = yield* once(
        (run) =>
          run === 1
            ? Effect.dieMessage("broken")
            : Effect.fail(HttpException.unprocessableContent({ detail: `run ${run}` })),
        { mount, inside: [door] }
      )
      assert.strictEqual((yield* post("\"a\"")).status, 500)
      assert.strictEqual(runs(), 0)
      refuses = false
      assert.strictEqual((yield* post("\"a\"")).status, 500)
      assert.strictEqual(runs(), 1)
      const failed = yield* post("\"a\"")
      assert.strictEqual(failed.status, 422)
      const again = yield* post("\"a\"")
      assert.isTrue(isReplay(again))
      assert.deepStrictEqual(given(again), given(failed))
      assert.strictEqual(runs(), 2)
    }).pipe(Effect.provide(memory)))

  it.scoped("a stream is given again as it was, and what is too large is known to be done", () =>
    Effect.gen(function*() {
      const chunks = ["a", "é", "", "z".repeat(20)]
      const { post, runs } = yield* once(
        () => Effect.succeed(HttpServerResponse.stream(Stream.encodeText(Stream.fromIterable(chunks)))),
        { mount, options: { maxBodySize: 23 } }
      )
      const first = yield* post("\"a\"")
      assert.strictEqual(first.body, chunks.join(""))
      const again = yield* post("\"a\"")
      assert.isTrue(isReplay(again))
      assert.deepStrictEqual(given(again), given(first))
      const large = ["y", "z".repeat(15), "z".repeat(15), "end"]
      chunks.splice(0, 4, ...large)
      assert.strictEqual((yield* post("\"b\"")).body, large.join(""))
      const lost = yield* post("\"b\"")
      assert.strictEqual(lost.status, 409)
      assert.strictEqual(titleOf(lost), "The request was carried out")
      assert.strictEqual(runs(), 2)
    }).pipe(Effect.provide(memory)))

  it.scoped("a process that was thought to be dead can neither answer for the key nor free it", () =>
    Effect.gen(function*() {
      const shared = yield* IdempotencyStore.IdempotencyStore
      // it goes on, but hears of the store only when it is done
      const deaf = { ...shared, renew: () => Effect.never }
      const { entered, handler, open } = yield* gated
      const tokens: Array<number> = []
      const noted = Effect.map(Idempotency.Claim, Option.match({ onNone: () => 0, onSome: ({ token }) => token })).pipe(
        Effect.map((token) => tokens.push(token))
      )
      const old = yield* once((run) => Effect.zipRight(noted, handler(run)), { mount }).pipe(
        Effect.provideService(IdempotencyStore.IdempotencyStore, deaf)
      )
      const current = yield* once((run) => Effect.as(noted, HttpServerResponse.text(`current ${run}`)), { mount })
      const late = yield* Effect.fork(old.post("\"a\""))
      yield* answered(entered)
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual((yield* current.post("\"a\"")).status, 409)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* current.post("\"a\"")).body, "current 1")
      yield* open
      const reply = yield* answered(Fiber.join(late))
      assert.strictEqual(reply.status, 409)
      const again = yield* current.post("\"a\"")
      assert.isTrue(isReplay(again))
      assert.strictEqual(again.body, "current 1")
      assert.strictEqual(tokens.length, 2)
      assert.isAbove(tokens[1]!, tokens[0]!)
    }).pipe(Effect.provide(memory)))
})

class Closed extends Data.TaggedError("Closed") {}

describe("keys", () => {
  const parse = (key: string, unquoted = false) => {
    const decision = Idempotency.policy({ unquoted })({ method: "POST", target: "/", key })
    return decision._tag === "Keyed" ? decision.key : decision._tag
  }
  it.each<[field: string, key: string]>([
    ["\"a\"", "a"],
    [" \"a\" ", "a"],
    ["\"a\";v=1", "a"],
    ["\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ["\"a\\\"b\\\\\"", "a\"b\\"],
    [`"${"a".repeat(255)}"`, "a".repeat(255)],
    [`"${"\\\"".repeat(255)}"`, "\"".repeat(255)],
    ["", "Invalid"],
    ["\"\"", "Invalid"],
    [`"${"a".repeat(256)}"`, "Invalid"],
    [`"${"a".repeat(1_000_000)}"`, "Invalid"],
    ["a", "Invalid"],
    ["8e03978e", "Invalid"],
    ["1", "Invalid"],
    ["?1", "Invalid"],
    [":YQ==:", "Invalid"],
    ["%\"a\"", "Invalid"],
    ["\"a\", \"b\"", "Invalid"],
    ["(\"a\")", "Invalid"],
    ["\"a", "Invalid"],
    ["\"a\\n\"", "Invalid"],
    ["\"é\"", "Invalid"],
    ["\"a\u0000\"", "Invalid"],
    ["\"a\"b", "Invalid"]
  ])("%s", (field, key) => {
    assert.strictEqual(parse(field), key)
    // those without quotation marks are keys then, and the others are what they were
    const isBare = /^[\w?:=-]+$/.test(field)
    assert.strictEqual(parse(field, true), isBare ? field : key)
  })

  it("count for the methods that change something, and have to be there where that is asked for", () => {
    const decide = Idempotency.policy({ required: ["POST /pay/:id"] })
    const tag = (method: string, target: string, key?: string, route?: string) =>
      decide({ method, target, key, route })._tag
    assert.deepStrictEqual(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"].map((method) => tag(method, "/pay/1", "bad")), [
      "Pass",
      "Pass",
      "Pass",
      "Pass",
      "Pass"
    ])
    assert.strictEqual(tag("POST", "/pay/1"), "Missing")
    assert.strictEqual(tag("POST", "//PAY/%31"), "Missing")
    assert.strictEqual(tag("POST", "/other", undefined, "/pay/:id"), "Missing")
    assert.strictEqual(tag("POST", "/notes"), "Pass")
    assert.strictEqual(tag("PATCH", "/pay/1"), "Pass")
    assert.strictEqual(tag("PATCH", "/pay/1", "\"a\""), "Keyed")
    const all = Idempotency.policy({ methods: ["PUT"], required: true })
    assert.strictEqual(all({ method: "PUT", target: "/", key: undefined })._tag, "Missing")
    assert.strictEqual(all({ method: "POST", target: "/", key: "\"a\"" })._tag, "Pass")
  })

  it.scoped("that are missing, or none, are refused as problems, with a link to who explains it", () =>
    Effect.gen(function*() {
      const documentation = "https://example.com/idempotency"
      const { post, runs } = yield* once((run) => Effect.succeed(created(run)), {
        options: { required: true, documentation }
      })
      for (
        const [key, title] of [[undefined, "Idempotency-Key is missing"], ["a", "Idempotency-Key is invalid"]] as const
      ) {
        const { body, headers, status } = yield* post(key)
        assert.strictEqual(status, 400)
        assert.strictEqual(headers["content-type"], "application/problem+json")
        assert.strictEqual(headers["link"], `<${documentation}>; rel="describedby"; type="text/html"`)
        const problem = JSON.parse(body)
        assert.strictEqual(problem.title, title)
        assert.strictEqual(problem.type, documentation)
      }
      assert.strictEqual(runs(), 0)
    }).pipe(Effect.provide(memory)))

  it.scoped("are of no use to another request", () =>
    Effect.gen(function*() {
      const { post, runs } = yield* once((run) => Effect.succeed(created(run)), { mount: node })
      assert.strictEqual((yield* post("\"a\"", "body", { path: "/x?q=1" })).status, 201)
      for (
        const [body, init] of [
          ["another", { path: "/x?q=1" }],
          ["", { path: "/x?q=1" }],
          ["body", { path: "/x?q=2" }],
          ["body", { path: "/x" }],
          ["body", { path: "/x?q=1", headers: { "content-type": "application/json" } }]
        ] as const
      ) {
        const reply = yield* post("\"a\"", body, init)
        assert.strictEqual(reply.status, 422)
        assert.strictEqual(titleOf(reply), "Idempotency-Key is already used")
      }
      // another method, and another path, are another route
      assert.strictEqual((yield* post("\"a\"", "body", { path: "/x?q=1", method: "PATCH" })).body, "no. 2")
      assert.strictEqual((yield* post("\"a\"", "body", { path: "/y?q=1" })).body, "no. 3")
      assert.strictEqual(runs(), 3)
    }).pipe(Effect.provide(memory)))

  it.scoped("of one path of a route are not those of another", () =>
    Effect.gen(function*() {
      const mount = mounts.find(({ name }) => name === "a route")!
      const { post } = yield* once((run) => Effect.succeed(created(run)), { mount })
      assert.strictEqual((yield* post("\"a\"", "a", { path: "/orders/1" })).status, 201)
      assert.strictEqual((yield* post("\"a\"", "a", { path: "/orders/2" })).status, 422)
    }).pipe(Effect.provide(memory)))

  it.scoped("of two middlewares of other names are not each other's", () =>
    Effect.gen(function*() {
      for (const [name, body] of [["One", "no. 1"], ["Two", "no. 1"]] as const) {
        const { post } = yield* once((run) => Effect.succeed(created(run)), { options: { name } })
        const reply = yield* post("\"a\"")
        assert.strictEqual(reply.body, body)
        assert.isFalse(isReplay(reply))
      }
    }).pipe(Effect.provide(memory)))

  it.scoped("are told apart by what `fingerprint` looks at", () =>
    Effect.gen(function*() {
      const seen: Array<Idempotency.Sent> = []
      const fingerprint = (sent: Idempotency.Sent) => {
        seen.push(sent)
        return JSON.parse(Buffer.from(sent.body).toString()).amount
      }
      const { post } = yield* once((run) => Effect.succeed(created(run)), { options: { fingerprint } })
      assert.strictEqual((yield* post("\"a\"", `{"amount":"1","sentAt":1}`, { path: "/?q" })).status, 201)
      assert.isTrue(isReplay(yield* post("\"a\"", `{"sentAt":2,"amount":"1"}`)))
      assert.strictEqual((yield* post("\"a\"", `{"amount":"2"}`)).status, 422)
      assert.deepStrictEqual({ ...seen[0]!, body: undefined }, {
        method: "POST",
        path: "/",
        query: "q",
        contentType: "text/plain",
        body: undefined
      } as never)
    }).pipe(Effect.provide(memory)))
})

describe("principals", () => {
  const withCookies = () =>
    HttpServerResponse.text("own").pipe(
      HttpServerResponse.unsafeSetCookie("a", "1", { path: "/x", httpOnly: true }),
      HttpServerResponse.unsafeSetCookie("b", "ü %2F")
    )

  it.scoped("never see each other's answers, nor whether there are any", () =>
    Effect.gen(function*() {
      const { post, runs } = yield* once((run) => Effect.succeed(created(run)))
      const users = ["ada", "bob", "ada\",\"x", "null", "\u00e9"]
      const as = (user: string | undefined, body = "a") =>
        post("\"a\"", body, user === undefined ? {} : { headers: { "x-user": user } })
      for (const [i, user] of [...users, undefined].entries()) {
        const first = yield* as(user)
        assert.strictEqual(first.body, `no. ${i + 1}`)
        assert.isFalse(isReplay(first))
        assert.strictEqual((yield* as(user)).body, `no. ${i + 1}`)
      }
      assert.strictEqual((yield* as("bob", "another")).status, 422)
      assert.strictEqual((yield* as("carol", "another")).status, 201)
      assert.strictEqual(runs(), 7)
    }).pipe(Effect.provide(memory)))

  it.scoped("are given their cookies again; nobody in particular is not", () =>
    Effect.gen(function*() {
      const { post } = yield* once(() => Effect.succeed(withCookies()), { mount: own })
      const ada = { headers: { "x-user": "ada" } }
      const first = yield* post("\"a\"", "a", ada)
      assert.deepStrictEqual(first.cookies, ["a=1; Path=/x; HttpOnly", "b=%C3%BC%20%252F"])
      assert.deepStrictEqual(given(yield* post("\"a\"", "a", ada)), given(first))
      assert.strictEqual((yield* post("\"a\"")).cookies.length, 2)
      const again = yield* post("\"a\"")
      assert.isTrue(isReplay(again))
      assert.deepStrictEqual(again.cookies, [])
    }).pipe(Effect.provide(memory)))

  it.scoped("are those of Authentication, and every key of RateLimit is one", () =>
    Effect.gen(function*() {
      class User extends Authentication.Tag("test/User")<User, string>() {}
      const backend = User.layer(Authentication.bearer({
        verify: (token) => Effect.succeed(Option.some({ user: Redacted.value(token) }))
      }))
      yield* Effect.gen(function*() {
        const scopes = [Idempotency.principal(User.Option), RateLimit.principal(User.Option)]
        for (const [i, scope] of scopes.entries()) {
          const { post, runs } = yield* once((run) => Effect.succeed(created(run)), {
            outside: [User.optional()],
            options: { scope: scope as Idempotency.Scope, name: `Scope ${i}` }
          })
          const as = (token: string | undefined) =>
            post("\"a\"", "a", token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } })
          for (const [run, token] of ["ada", "bob", undefined].entries()) {
            for (const again of [false, true]) {
              const reply = yield* as(token)
              assert.strictEqual(reply.body, `no. ${run + 1}`)
              assert.strictEqual(isReplay(reply), again)
            }
          }
          assert.strictEqual(runs(), 3)
        }
      }).pipe(Effect.provide(backend))
    }).pipe(Effect.provide(memory)))

  it.scoped("are not asked for with \"everyone\"", () =>
    Effect.gen(function*() {
      const { post } = yield* once(() => Effect.succeed(withCookies()), { options: { scope: "everyone" } })
      yield* post("\"a\"", "a", { headers: { "x-user": "ada" } })
      const again = yield* post("\"a\"", "a", { headers: { "x-user": "bob" } })
      assert.isTrue(isReplay(again))
      assert.deepStrictEqual(again.cookies, [])
    }).pipe(Effect.provide(memory)))
})

describe("answers", () => {
  const kept = [200, 201, 202, 204, 303, 400, 403, 404, 410, 412, 422]
  const passing = [401, 408, 409, 425, 429]
  it.scoped("are kept by their status", () =>
    Effect.gen(function*() {
      for (const store5xx of [false, true]) {
        for (const status of [...kept, ...passing, 500, 502, 503]) {
          const { post, runs } = yield* once(() => Effect.succeed(HttpServerResponse.empty({ status })), {
            options: { store5xx }
          })
          for (let i = 0; i < 2; i++) {
            assert.strictEqual((yield* post(`"${status} ${store5xx}"`)).status, status)
          }
          assert.strictEqual(runs(), kept.includes(status) || (store5xx && status >= 500) ? 1 : 2, `${status}`)
        }
      }
    }).pipe(Effect.provide(memory)))

  const bytes = new Uint8Array([0, 255, 254, 10, 13, 128])
  const form = () => {
    const form = new FormData()
    form.append("a", "1")
    return form
  }
  it.scoped("of any form are given again to the byte", () =>
    Effect.gen(function*() {
      const answers: Record<string, () => HttpServerResponse.HttpServerResponse> = {
        bytes: () => HttpServerResponse.uint8Array(bytes, { contentType: "application/x-bytes" }),
        empty: () => HttpServerResponse.empty({ status: 200, headers: { "x-a": "" } }),
        json: () =>
          HttpServerResponse.unsafeJson({ a: "é" }, { headers: { etag: "\"1\"", "cache-control": "private" } }),
        text: () => HttpServerResponse.raw("é", { contentType: "text/x" }),
        "no type": () => HttpServerResponse.raw(bytes),
        blob: () => HttpServerResponse.raw(new Blob(["blob"], { type: "text/blob" })),
        form: () => HttpServerResponse.formData(form()),
        web: () =>
          HttpServerResponse.raw(
            new Response("web", {
              status: 203,
              headers: [["x-web", "1"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]]
            })
          ),
        stream: () => HttpServerResponse.stream(Stream.make(bytes, bytes), { contentType: "application/x" }),
        fields: () => HttpServerResponse.text("x", { headers: { "x-user": "é, \"\\", link: "</>; rel=a, </>; rel=b" } })
      }
      let make = answers["bytes"]!
      for (const mount of [node, own, mounts[0]!]) {
        const { post, runs } = yield* once(() => Effect.sync(() => make()), {
          mount,
          options: { name: mount.name, scope: () => "ada" }
        })
        let expected = 0
        for (const name in answers) {
          make = answers[name]!
          const first = yield* post(`"${name}"`)
          const again = yield* post(`"${name}"`)
          assert.isTrue(isReplay(again), `${mount.name}, ${name}: ${again.status}`)
          assert.deepStrictEqual(given(again), given(first), `${mount.name}, ${name}`)
          assert.strictEqual(runs(), ++expected)
        }
      }
    }).pipe(Effect.provide(memory)))

  it.scoped("are what was sent, whatever becomes of the bytes", () =>
    Effect.gen(function*() {
      const buffer = Buffer.from("first")
      const { post } = yield* once(() => Effect.succeed(HttpServerResponse.uint8Array(buffer)))
      yield* post("\"a\"")
      buffer.fill("x")
      assert.strictEqual((yield* post("\"a\"")).body, "first")
    }).pipe(Effect.provide(memory)))

  it.scoped("that fail on their way, or are events, are not kept whole", () =>
    Effect.gen(function*() {
      let body: Stream.Stream<Uint8Array, unknown> = Stream.concat(
        Stream.make(bytes),
        Stream.fail("broken")
      )
      let contentType = "text/plain"
      const { post, runs } = yield* once(() => Effect.sync(() => HttpServerResponse.stream(body, { contentType })))
      yield* Effect.exit(post("\"a\""))
      body = Stream.make(bytes)
      assert.isFalse(isReplay(yield* post("\"a\"")))
      assert.isTrue(isReplay(yield* post("\"a\"")))
      assert.strictEqual(runs(), 2)
      contentType = "text/event-stream"
      yield* post("\"b\"")
      assert.strictEqual(titleOf(yield* post("\"b\"")), "The request was carried out")
    }).pipe(Effect.provide(memory)))

  it.scoped("have the edits of what is further in, and are edited anew by what is further out", () =>
    Effect.gen(function*() {
      let n = 0
      const stamp = (name: string) => Middleware.make({ name, response: (draft) => draft.set(`x-${name}`, `${++n}`) })
      const { post } = yield* once((run) => Effect.succeed(created(run)), {
        outside: [stamp("out")],
        inside: [stamp("in")]
      })
      const first = yield* post("\"a\"")
      const again = yield* post("\"a\"")
      assert.deepStrictEqual([first, again].map(({ headers }) => [headers["x-in"], headers["x-out"]]), [
        ["1", "2"],
        ["1", "3"]
      ])
    }).pipe(Effect.provide(memory)))

  it.scoped("are forgotten after their time", () =>
    Effect.gen(function*() {
      const { post } = yield* once((run) => Effect.succeed(created(run)), { options: { ttl: "1 hour" } })
      assert.strictEqual((yield* post("\"a\"")).headers["idempotency-ttl"], "3600")
      yield* TestClock.adjust("3599 seconds")
      assert.strictEqual((yield* post("\"a\"")).body, "no. 1")
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* post("\"a\"", "another")).body, "no. 2")
    }).pipe(Effect.provide(memory)))
})

describe("bodies of requests", () => {
  it.scoped("are read by the handler as they came, in every way", () =>
    Effect.gen(function*() {
      const read: Array<unknown> = []
      const app = Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        read.push(yield* Effect.orDie(request.json), yield* Effect.orDie(request.text))
        read.push(Buffer.from(yield* Effect.orDie(request.arrayBuffer)).toString())
        return HttpServerResponse.empty()
      })
      for (const mount of [node, own, mounts[0]!]) {
        const idempotency = Idempotency.middleware({ scope: "everyone", name: mount.name })
        const send = yield* mount.mount(app as never, idempotency)
        yield* send({ method: "POST", body: "{\"é\":1}", headers: { "idempotency-key": "\"a\"" } })
      }
      assert.deepStrictEqual(read, [1, 2, 3].flatMap(() => [{ é: 1 }, "{\"é\":1}", "{\"é\":1}"]))
    }).pipe(Effect.provide(memory)))

  it.scoped("that are too large are refused, with and without a length, and by what limits them further out", () =>
    Effect.gen(function*() {
      const options = { maxRequestSize: 10 }
      const streamed = Middleware.make({
        name: "Streamed",
        request: (e) => e.deriveRequest({ stream: (body) => body })
      })
      for (const mount of [node, own, mounts[0]!]) {
        for (
          const outside of [[], [streamed], [BodyLimit.middleware({ limit: 5 })], [
            streamed,
            BodyLimit.middleware({ limit: 5 })
          ]]
        ) {
          const { post, runs } = yield* once((run) => Effect.succeed(created(run)), { mount, options, outside })
          assert.strictEqual((yield* post("\"a\"", "x".repeat(11))).status, 413, mount.name)
          assert.strictEqual(runs(), 0)
          assert.strictEqual((yield* post(`"${mount.name} ${outside.length}"`, "x".repeat(5))).status, 201)
        }
        const { post } = yield* once((run) => Effect.succeed(created(run)), { mount, options })
        assert.strictEqual((yield* post(`"ten ${mount.name}"`, "x".repeat(10))).status, 201)
        // what has no key is not read
        assert.strictEqual((yield* post(undefined, "x".repeat(11))).status, 201)
      }
    }).pipe(Effect.provide(memory)))
})

describe("claims", () => {
  it.scoped("are prolonged for as long as the handler runs", () =>
    Effect.gen(function*() {
      const { entered, handler, open } = yield* gated
      const { post, runs } = yield* once(handler)
      const first = yield* Effect.fork(post("\"a\""))
      yield* answered(entered)
      for (let i = 0; i < 20; i++) {
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual((yield* post("\"a\"")).status, 409)
      }
      yield* open
      assert.strictEqual((yield* answered(Fiber.join(first))).status, 201)
      assert.strictEqual(runs(), 1)
      assert.isTrue(isReplay(yield* post("\"a\"")))
    }).pipe(Effect.provide(memory)))

  it.scoped("are free at once after what is not kept, for the same request alone", () =>
    Effect.gen(function*() {
      const tokens: Array<number> = []
      const { post } = yield* once(() =>
        Effect.map(Idempotency.Claim, (claim) => {
          if (Option.isSome(claim)) tokens.push(claim.value.token)
          return HttpServerResponse.empty({ status: 503 })
        })
      )
      for (let i = 0; i < 3; i++) assert.strictEqual((yield* post("\"a\"")).status, 503)
      assert.strictEqual((yield* post("\"a\"", "another")).status, 422)
      assert.strictEqual(tokens.length, 3)
      assert.isTrue(tokens[0]! < tokens[1]! && tokens[1]! < tokens[2]!)
      yield* post(undefined)
      assert.strictEqual(tokens.length, 3)
    }).pipe(Effect.provide(memory)))

  it.scoped.each([node, own])(
    "a client that leaves finds the answer when it comes again: $name",
    (mount) =>
      Effect.gen(function*() {
        const { entered, handler, open } = yield* gated
        const { post, runs } = yield* once(handler, { mount })
        const leaves = yield* Effect.fork(post("\"a\""))
        yield* answered(entered)
        yield* Fiber.interrupt(leaves)
        assert.strictEqual((yield* answered(post("\"a\""))).status, 409)
        yield* open
        const reply = yield* soon(post("\"a\""), ({ status }) => status !== 409)
        assert.isTrue(isReplay(reply))
        assert.strictEqual(reply.body, "no. 1")
        assert.strictEqual(runs(), 1)
      }).pipe(Effect.provide(memory))
  )

  it.scoped("with \"release\" it ends the handler, and the key is free", () =>
    Effect.gen(function*() {
      const entered = yield* Deferred.make<void>()
      let interrupted = 0
      const { post, runs } = yield* once(
        (run) =>
          run > 1 ?
            Effect.succeed(created(run)) :
            Effect.zipRight(Deferred.succeed(entered, undefined), Effect.never).pipe(
              Effect.onInterrupt(() => Effect.sync(() => interrupted++))
            ),
        { mount: mounts.find(({ name }) => name === "Stack.serveRouter, Node")!, options: { onInterrupt: "release" } }
      )
      const leaves = yield* Effect.fork(post("\"a\""))
      yield* answered(Deferred.await(entered))
      yield* Fiber.interrupt(leaves)
      const reply = yield* soon(post("\"a\""), ({ status }) => status !== 409)
      assert.strictEqual(reply.body, "no. 2")
      assert.strictEqual(interrupted, 1)
      assert.strictEqual(runs(), 2)
    }).pipe(Effect.provide(memory)))

  it.scoped("a Timeout further in ends the handler, which is not kept", () =>
    Effect.gen(function*() {
      const { post, runs } = yield* once((run) => run === 1 ? Effect.never : Effect.succeed(created(run)), {
        inside: [Timeout.middleware({ limit: "5 seconds" })]
      })
      const first = yield* Effect.fork(post("\"a\""))
      yield* soon(Effect.sync(runs), (runs) => runs === 1)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* answered(Fiber.join(first))).status, 503)
      assert.strictEqual((yield* post("\"a\"")).body, "no. 2")
    }).pipe(Effect.provide(memory)))

  it.scoped("one further out lets it run to its end, and the answer is there", () =>
    Effect.gen(function*() {
      const { entered, handler, open } = yield* gated
      const { post, runs } = yield* once(handler, {
        outside: [Timeout.middleware({ limit: "5 seconds", disconnect: true })]
      })
      const first = yield* Effect.fork(post("\"a\""))
      yield* answered(entered)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* answered(Fiber.join(first))).status, 503)
      assert.strictEqual((yield* post("\"a\"")).status, 409)
      yield* open
      assert.strictEqual((yield* soon(post("\"a\""), ({ status }) => status !== 409)).body, "no. 1")
      assert.strictEqual(runs(), 1)
    }).pipe(Effect.provide(memory)))

  it.scoped("what a handler forks, and what it interrupts itself, is as without", () =>
    Effect.gen(function*() {
      const { post } = yield* once((run) =>
        run === 1
          ? Effect.map(Effect.timeoutOption(Effect.never, "1 seconds"), () => created(run))
          : Effect.interrupt
      )
      const first = yield* Effect.fork(post("\"a\""))
      yield* soon(TestClock.adjust("1 seconds"), () => first.unsafePoll() !== null)
      assert.strictEqual((yield* answered(Fiber.join(first))).status, 201)
      assert.isAbove((yield* post("\"b\"")).status, 498)
      assert.isAbove((yield* post("\"b\"")).status, 498)
    }).pipe(Effect.provide(memory)))
})

describe("a store that is down", () => {
  /** Memory that does not answer what it is told not to. */
  const breakable = Effect.map(Layer.build(memory), (context) => {
    const store = Context.get(context, IdempotencyStore.IdempotencyStore)
    const down = new Set<string>()
    const guarded = <Args extends ReadonlyArray<never>, A>(
      operation: string,
      f: (...args: Args) => Effect.Effect<A, IdempotencyStore.IdempotencyUnavailable>
    ) =>
    (...args: Args) =>
      Effect.suspend(() =>
        down.has(operation) ? new IdempotencyStore.IdempotencyUnavailable({ operation, cause: "down" }) : f(...args)
      )
    const broken: IdempotencyStore.Service = {
      claim: guarded("claim", store.claim as never) as never,
      renew: guarded("renew", store.renew as never) as never,
      complete: guarded("complete", store.complete as never) as never,
      release: guarded("release", store.release as never) as never
    }
    return { down, layer: Layer.succeed(IdempotencyStore.IdempotencyStore, broken) }
  })

  it.scoped("refuses what has a key, or lets it by without one", () =>
    Effect.gen(function*() {
      const { down, layer } = yield* breakable
      down.add("claim")
      const { post, runs } = yield* Effect.provide(once((run) => Effect.succeed(created(run))), layer)
      const refused = yield* post("\"a\"")
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(refused.headers["retry-after"], "5")
      assert.strictEqual(runs(), 0)
      assert.strictEqual((yield* post(undefined)).status, 201)
      const claims: Array<unknown> = []
      const lenient = yield* Effect.provide(
        once((run) => Effect.map(Idempotency.Claim, (claim) => (claims.push(claim._tag), created(run))), {
          options: { onUnavailable: "allow" }
        }),
        layer
      )
      for (let i = 0; i < 2; i++) assert.strictEqual((yield* lenient.post("\"a\"")).status, 201)
      assert.strictEqual(lenient.runs(), 2)
      assert.deepStrictEqual(claims, ["None", "None"])
      assert.strictEqual((yield* lenient.post("a")).status, 400)
    }))

  it.scoped("when the handler is done: its answer is sent, and kept when the store is back", () =>
    Effect.gen(function*() {
      const { down, layer } = yield* breakable
      const { post, runs } = yield* Effect.provide(once((run) => Effect.succeed(created(run))), layer)
      down.add("complete")
      assert.strictEqual((yield* post("\"a\"")).body, "no. 1")
      assert.strictEqual((yield* post("\"a\"")).status, 409)
      yield* TestClock.adjust("5 seconds")
      down.clear()
      yield* TestClock.adjust("1 seconds")
      assert.isTrue(isReplay(yield* post("\"a\"")))
      assert.strictEqual(runs(), 1)
      // after its lease it is given up
      down.add("complete")
      assert.strictEqual((yield* post("\"b\"")).body, "no. 2")
      yield* TestClock.adjust("61 seconds")
      down.clear()
      assert.strictEqual((yield* post("\"b\"")).body, "no. 3")
    }))

  it.scoped("when it is to be prolonged, or freed: it goes on", () =>
    Effect.gen(function*() {
      const { down, layer } = yield* breakable
      const { entered, handler, open } = yield* gated
      const { post } = yield* Effect.provide(once(handler), layer)
      const first = yield* Effect.fork(post("\"a\""))
      yield* answered(entered)
      down.add("renew")
      yield* TestClock.adjust("40 seconds")
      down.clear()
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual((yield* post("\"a\"")).status, 409)
      yield* open
      assert.strictEqual((yield* answered(Fiber.join(first))).status, 201)
      const failing = yield* Effect.provide(
        once((run) => run === 1 ? Effect.die("x") : Effect.succeed(created(run))),
        layer
      )
      down.add("release")
      assert.strictEqual((yield* failing.post("\"b\"")).status, 500)
      assert.strictEqual((yield* failing.post("\"b\"")).status, 409)
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual((yield* failing.post("\"b\"")).body, "no. 2")
    }))
})

describe("any order of requests", () => {
  it("is answered as by one who remembers everything", () =>
    FastCheck.assert(
      FastCheck.asyncProperty(
        FastCheck.array(
          FastCheck.record({
            user: FastCheck.constantFrom("ada", "bob"),
            key: FastCheck.constantFrom("1", "2"),
            body: FastCheck.constantFrom("x", "y"),
            status: FastCheck.constantFrom(200, 404, 429, 500),
            wait: FastCheck.constantFrom(0, 0, 0, 3_600_000, 86_400_000)
          }),
          { minLength: 5, maxLength: 20 }
        ),
        (requests) =>
          Effect.gen(function*() {
            let status = 200
            const { post, runs } = yield* once((run) =>
              Effect.sync(() => HttpServerResponse.text(`${run}`, { status }))
            )
            const known = new Map<string, { body: string; until: number; answer: string | undefined }>()
            let [now, expected] = [0, 0]
            for (const { body, key, status: next, user, wait } of requests) {
              now += wait
              // to move the clock takes real time, too
              if (wait > 0) yield* TestClock.adjust(wait)
              status = next
              const reply = yield* post(`"${key}"`, body, { headers: { "x-user": user } })
              const id = `${user} ${key}`
              const found = known.get(id)
              const live = found !== undefined && found.until > now ? found : undefined
              if (live !== undefined && live.body !== body) assert.strictEqual(reply.status, 422)
              else if (live?.answer !== undefined) assert.strictEqual(`${reply.status} ${reply.body}`, live.answer)
              else {
                const answer = `${next} ${++expected}`
                assert.strictEqual(`${reply.status} ${reply.body}`, answer)
                known.set(id, { body, until: now + 86_400_000, answer: next < 429 ? answer : undefined })
              }
              assert.strictEqual(runs(), expected)
            }
          }).pipe(
            Effect.scoped,
            Effect.provide(memory),
            Effect.provide(TestContext.TestContext),
            Effect.runPromise
          )
      ),
      { numRuns: 40 }
    ))
})

describe("mistakes throw", () => {
  it.each<[options: Partial<Idempotency.Options>, message: string]>([
    [{ scope: "nobody" as never }, "Idempotency: scope is \"nobody\""],
    [{ methods: [] }, "Idempotency: methods is empty"],
    [{ methods: ["GET"] }, "Idempotency: methods has \"GET\""],
    [{ methods: ["post"] }, "Idempotency: methods has \"post\""],
    [{ required: ["pay"] }, "pay"],
    [{ ttl: 0 }, "Idempotency: ttl is 0"],
    [{ ttl: "30 seconds" }, "Idempotency: ttl is 30000 ms and lease 60000 ms"],
    [{ lease: "10 millis" }, "Idempotency: lease is 10 millis"],
    [{ ttl: Infinity }, "Idempotency: ttl is Infinity"],
    [{ maxBodySize: -1 }, "Idempotency: maxBodySize is \"-1\""],
    [{ maxRequestSize: "1 MB" as never }, "Idempotency: maxRequestSize is \"1 MB\""],
    [{ onInterrupt: "stop" as never }, "Idempotency: onInterrupt is \"stop\""],
    [{ onUnavailable: "no" as never }, "Idempotency: onUnavailable is \"no\""],
    [{ documentation: "/docs" }, "Idempotency: documentation is \"/docs\""]
  ])("%j", (options, message) => {
    assert.throws(() => Idempotency.middleware({ scope: "everyone", ...options }), message)
  })
})
