import { HttpServerError, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Middleware, Stack } from "effect-middleware"
import { answered } from "../utils/laws.js"
import { listenTo, mounts, request, send } from "../utils/TestApp.js"

type Body = HttpServerRequest.HttpServerRequest["stream"]

const changing = (name: string, stream: (body: Body) => Body) =>
  Middleware.make({ name, request: (exchange) => exchange.deriveRequest({ stream }) })
/** Leaves its name around the body. */
const around = (name: string) =>
  changing(name, (body) => {
    const mark = Stream.make(new TextEncoder().encode(name))
    return Stream.concat(Stream.concat(mark, body), mark)
  })
const reply = <E>(read: (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<unknown, E>) =>
  Effect.map(
    Effect.flatMap(HttpServerRequest.HttpServerRequest, read),
    (text) => HttpServerResponse.text(String(text))
  )
const text = reply(({ text }) => text)
const post = (body: string) => ({ method: "POST", body })

describe.each(mounts)("a body that middlewares change, in $name", ({ mount }) => {
  it.scoped("is changed by the outer one first, and stays so in further views", () =>
    Effect.gen(function*() {
      const view = (name: string) =>
        Middleware.make({
          name,
          request: (exchange) => exchange.deriveRequest({ headers: exchange.request.headers })
        })
      const modified = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
        request.modify({ url: "/x" }).text)
      const stack = Stack.make(around("a"), view("View"), around("b"), view("View2"))
      for (
        const read of [
          reply(({ text }) =>
            text
          ),
          Effect.map(modified, (text) => HttpServerResponse.text(text))
        ]
      ) {
        const send = yield* mount(read, stack)
        assert.strictEqual((yield* send(post("-"))).body, "ba-ab")
      }
    }))
})

describe("a body that a middleware changes", () => {
  const same = changing("Same", (body) => body)

  it.effect("is not asked for before it is read", () =>
    Effect.gen(function*() {
      let asked = 0
      const counting = changing("Counting", (body) => {
        asked++
        return body
      })
      yield* send(counting(HttpServerResponse.text("ok")), post("a"))
      assert.strictEqual(asked, 0)
      yield* send(counting(reply(({ json, text }) => Effect.zip(text, json))), post("1"))
      assert.strictEqual(asked, 1)
    }))

  it.effect("is empty where there is none", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* send(around("a")(text))).body, "aa")
      const port = listenTo(same(reply(({ json }) => Effect.map(json, JSON.stringify))))
      const replied = Effect.scoped(Effect.flatMap(port, (port) => request(port, { method: "POST" })))
      assert.strictEqual((yield* replied).body, "null")
    }))

  it.effect("may be written to by who has it", () =>
    Effect.gen(function*() {
      const app = reply((request) =>
        Effect.gen(function*() {
          new Uint8Array(yield* request.arrayBuffer).fill(0)
          return new TextDecoder().decode(yield* request.arrayBuffer) + (yield* request.text)
        })
      )
      assert.strictEqual((yield* send(same(app), post("ab"))).body, "abab")
    }))

  it.effect("joins what comes in pieces, also within a character", () =>
    Effect.gen(function*() {
      const single = changing("Single", Stream.mapConcat((bytes) => Array.from(bytes, (byte) => Uint8Array.of(byte))))
      assert.strictEqual((yield* send(single(text), post("aü€𝄞"))).body, "aü€𝄞")
    }))

  it.effect("fails with what it fails with, and what is no JSON too", () =>
    Effect.gen(function*() {
      const failed = reply(({ json }) => Effect.map(Effect.flip(json), ({ _tag, cause }) => `${_tag} ${String(cause)}`))
      const failing = changing("Failing", () =>
        Stream.flatMap(Stream.fromEffect(HttpServerRequest.HttpServerRequest), (request) =>
          Stream.fail(new HttpServerError.RequestError({ request, reason: "Decode", cause: "why" }))).pipe(
            Stream.provideService(HttpServerRequest.HttpServerRequest, aRequest)
          ))
      assert.strictEqual((yield* send(failing(failed), post("1"))).body, "RequestError why")
      assert.match((yield* send(same(failed), post("{"))).body, /^RequestError SyntaxError/)
    }))

  it.scopedLive("in Node's server may be left before its end, and is read once", () =>
    Effect.gen(function*() {
      const port = yield* listenTo(same(reply(({ stream }) =>
        Effect.gen(function*() {
          const head = yield* Stream.runCollect(Stream.take(stream, 1))
          const again = yield* Effect.flip(Stream.runDrain(stream))
          return `${head.length} ${String(again.cause)}`
        })
      )))
      const { body, status } = yield* answered(request(port, post("x".repeat(100_000))))
      assert.deepStrictEqual([status, body], [200, "1 Error: The body has been read already"])
    }))

  it.scopedLive("in Node's server is not read after who stands outside has", () =>
    Effect.gen(function*() {
      const outer = Middleware.before("Outer", (request) => Effect.asVoid(Effect.orDie(request.text)))
      const app = reply(({ text }) => Effect.map(Effect.flip(text), ({ cause }) => String(cause)))
      const port = yield* listenTo(Stack.make(outer, same)(app))
      assert.strictEqual((yield* request(port, post("a"))).body, "Error: The body has been read already")
    }))
})

const aRequest = HttpServerRequest.fromWeb(new Request("http://localhost/"))
