import { HttpApp, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, FastCheck, Fiber, Stream } from "effect"
import { Authentication, Compression, Cors, Entropy, Middleware, ServerErrors, Stack } from "effect-middleware"
import { execFile } from "node:child_process"
import { randomBytes } from "node:crypto"
import * as Http from "node:http"
import { Readable } from "node:stream"
import { promisify } from "node:util"
import * as Zlib from "node:zlib"
import { codings, decode, handles, json, receive, until } from "./utils/compression.js"
import { listenTo } from "./utils/TestApp.js"

type Facts = Compression.Facts
type Fields = { readonly [name: string]: string | undefined }

const facts: Facts = {
  method: "GET",
  request: { "accept-encoding": "gzip, br" },
  response: { "content-type": "text/html; charset=utf-8" },
  status: 200,
  size: 2000,
  buffered: true,
  setsCookie: false
}
const sent = (fields: Fields): Facts => ({ ...facts, response: { ...facts.response, ...fields } })
const asked = (fields: Fields): Facts => ({ ...facts, request: { ...facts.request, ...fields } })
const not304: Facts = { ...facts, status: 304, size: undefined, response: { etag: "\"a\"" } }

const leave = { coding: undefined, varies: false, weak: false, padded: false, refused: false }
const vary = { ...leave, varies: true }
const encode = { ...vary, coding: "br" as const, weak: true }

describe("policy", () => {
  const decide = Compression.policy()

  it.each<[rule: string, facts: Facts, expected: Compression.Decision]>([
    ["a page", facts, encode],
    ["a page that was not found", { ...facts, status: 404 }, encode],
    ["an error", { ...facts, status: 500 }, encode],
    ["HEAD as GET", { ...facts, method: "HEAD" }, encode],
    ["POST", { ...facts, method: "POST" }, encode],
    ["as much as is worth it", { ...facts, size: 1024 }, encode],
    ["a size that nobody knows", { ...facts, size: undefined, buffered: false }, encode],
    // no content
    ["204", { ...facts, status: 204 }, leave],
    ["205", { ...facts, status: 205 }, leave],
    // a 304
    ["a 304", not304, vary],
    ["a 304 of what was sent as it is", { ...not304, request: { "if-none-match": "\"a\"" } }, vary],
    ["a 304 of what was compressed", { ...not304, request: { "if-none-match": "W/\"a\"" } }, { ...vary, weak: true }],
    ["a 304 of one of several", { ...not304, request: { "if-none-match": "\"b\", W/\"a\"" } }, { ...vary, weak: true }],
    ["a 304 of another", { ...not304, request: { "if-none-match": "W/\"b\"" } }, vary],
    ["a 304 of anything", { ...not304, request: { "if-none-match": "*" } }, vary],
    ["a 304 of a picture", { ...not304, response: { etag: "\"a\"", "content-type": "image/png" } }, leave],
    // what the handler has coded
    ["coded", sent({ "content-encoding": "gzip" }), leave],
    ["coded in what nobody knows", sent({ "content-encoding": "dcb" }), leave],
    ["not to be coded", sent({ "content-encoding": "Identity" }), leave],
    ["empty", sent({ "content-encoding": "" }), leave],
    // directives
    ["no-transform", sent({ "cache-control": "public, No-Transform" }), leave],
    ["another directive", sent({ "cache-control": "no-transform-x" }), encode],
    ["no-transform in the request", asked({ "cache-control": "no-transform" }), vary],
    // types
    ["a picture", sent({ "content-type": "image/png" }), leave],
    ["events", sent({ "content-type": "text/event-stream" }), leave],
    ["no type", sent({ "content-type": undefined }), leave],
    ["JSON", sent({ "content-type": "Application/JSON ; charset=utf-8" }), encode],
    // parts
    ["206", { ...sent({ "content-range": "bytes 0-1/2" }), status: 206 }, vary],
    ["206 of several ranges", { ...facts, status: 206 }, vary],
    ["416", { ...sent({ "content-range": "bytes */2" }), status: 416 }, vary],
    // sizes
    ["too small", { ...facts, size: 1023 }, vary],
    ["empty", { ...facts, size: 0 }, vary],
    // the client
    ["no header", asked({ "accept-encoding": undefined }), vary],
    ["identity", asked({ "accept-encoding": "identity" }), vary],
    ["what is not there", asked({ "accept-encoding": "compress" }), vary],
    ["nothing at all", asked({ "accept-encoding": "*;q=0" }), vary],
    ["its weights", asked({ "accept-encoding": "gzip, br;q=0.9" }), { ...encode, coding: "gzip" }],
    // personal ones, unless an option says otherwise
    ["private", sent({ "cache-control": "private" }), encode]
  ])("%s", (_, facts, expected) => {
    assert.deepStrictEqual(decide(facts), expected)
  })

  it.each<[what: string, options: Compression.Options, facts: Facts, expected: Compression.Decision]>([
    ["algorithms", { algorithms: ["gzip", "br"] }, facts, { ...encode, coding: "gzip" }],
    ["algorithms, one", { algorithms: ["deflate"] }, facts, vary],
    ["algorithms, some of which this Node may not have", { algorithms: ["zstd", "gzip"] }, facts, {
      ...encode,
      coding: "gzip"
    }],
    ["minSize", { minSize: 10 }, { ...facts, size: 10 }, encode],
    ["minSize, below", { minSize: 10 }, { ...facts, size: 9 }, vary],
    ["minSize, 0", { minSize: 0 }, { ...facts, size: 0 }, encode],
    [
      "compressible, more",
      { compressible: (type, known) => known || type === "image/png" },
      sent({
        "content-type": "image/PNG"
      }),
      encode
    ],
    ["compressible, fewer", { compressible: (type, known) => known && type !== "text/html" }, facts, leave],
    ["compressible, none", { compressible: () => false }, facts, leave],
    ["unacceptable", { unacceptable: "refuse" }, asked({ "accept-encoding": "*;q=0" }), { ...vary, refused: true }],
    ["unacceptable, a picture", { unacceptable: "refuse" }, {
      ...sent({ "content-type": "image/png" }),
      request: { "accept-encoding": "identity;q=0" }
    }, { ...vary, refused: true }],
    ["unacceptable, coded by the handler", { unacceptable: "refuse" }, {
      ...sent({ "content-encoding": "dcb" }),
      request: { "accept-encoding": "identity;q=0" }
    }, leave],
    ["unacceptable, HEAD", { unacceptable: "refuse" }, {
      ...asked({ "accept-encoding": "*;q=0" }),
      method: "HEAD"
    }, { ...vary, refused: true }],
    ["unacceptable, where something is done", { unacceptable: "refuse" }, {
      ...asked({ "accept-encoding": "*;q=0" }),
      method: "POST"
    }, vary],
    ["unacceptable, an error", { unacceptable: "refuse" }, {
      ...asked({ "accept-encoding": "*;q=0" }),
      status: 404
    }, vary],
    ["unacceptable, but it is not", { unacceptable: "refuse" }, facts, encode],
    ["unacceptable, a part", { unacceptable: "refuse" }, {
      ...asked({ "accept-encoding": "*;q=0" }),
      size: 1
    }, { ...vary, refused: true }]
  ])("%s", (_, options, facts, expected) => {
    assert.deepStrictEqual(Compression.policy(options)(facts), expected)
  })

  const personal: ReadonlyArray<readonly [what: string, facts: Facts]> = [
    ["sets a cookie", { ...facts, setsCookie: true }],
    ["sets a cookie in a field", sent({ "set-cookie": "a=b" })],
    ["is private", sent({ "cache-control": "max-age=1, private" })],
    ["is private in a field", sent({ "cache-control": "private=\"x\"" })],
    ["is not stored", sent({ "cache-control": "no-store" })],
    ["varies by a cookie that was sent", {
      ...sent({ vary: "accept, Cookie" }),
      request: { ...facts.request, cookie: "a=b" }
    }],
    ["varies by credentials that were sent", {
      ...sent({ vary: "Authorization" }),
      request: { ...facts.request, authorization: "Bearer x" }
    }],
    ["varies by what nobody knows", sent({ vary: "*" })]
  ]
  it.each(personal)("breach: what %s", (_, facts) => {
    assert.deepStrictEqual(decide(facts), encode)
    assert.deepStrictEqual(Compression.policy({ breach: "off" })(facts), encode)
    assert.deepStrictEqual(Compression.policy({ breach: "skip" })(facts), vary)
    const pad = Compression.policy({ breach: "pad" })
    assert.deepStrictEqual(pad(facts), { ...encode, coding: "gzip", padded: true })
    // of a stream, and of another coding, the length is not hidden
    assert.deepStrictEqual(pad({ ...facts, buffered: false }), vary)
    assert.deepStrictEqual(pad({ ...facts, request: { ...facts.request, "accept-encoding": "br" } }), vary)
  })
  it.each(["skip", "pad"] as const)("breach: %s leaves what is everybody's", (breach) => {
    const decide = Compression.policy({ breach })
    const public_ = { "cache-control": "public", vary: "accept, cookie, authorization" }
    for (const one of [facts, sent(public_), { ...facts, buffered: false }]) {
      assert.deepStrictEqual(decide(one), encode)
    }
  })

  it.prop("what is coded varies, and what varies not is as it was", [
    FastCheck.record({
      method: FastCheck.constantFrom("GET", "HEAD", "POST"),
      status: FastCheck.constantFrom(200, 204, 206, 304, 404, 500),
      size: FastCheck.option(FastCheck.nat(3000), { nil: undefined }),
      buffered: FastCheck.boolean(),
      setsCookie: FastCheck.boolean(),
      request: FastCheck.dictionary(FastCheck.constantFrom("accept-encoding", "cache-control"), FastCheck.string()),
      response: FastCheck.dictionary(
        FastCheck.constantFrom("content-type", "content-encoding", "cache-control", "etag", "vary", "content-range"),
        FastCheck.oneof(FastCheck.string(), FastCheck.constantFrom("text/html", "gzip", "private", "no-transform"))
      )
    })
  ], ([facts]) => {
    const decision = decide(facts)
    if (decision.coding !== undefined) assert.isTrue(decision.varies && decision.weak)
    if (!decision.varies) assert.deepStrictEqual(decision, leave)
  })

  it.each<[options: Compression.Options, message: RegExp]>([
    [{ algorithms: [] }, /algorithms has none that this Node knows: add "gzip"/],
    [{ algorithms: ["compress" as "gzip"] }, /algorithms has "compress": write some of zstd, br, gzip, deflate/],
    [{ minSize: -1 }, /minSize is -1: write a number of bytes, such as 1024/],
    [{ minSize: 1.5 }, /minSize is 1.5/],
    [{ levels: { br: 11 } }, /levels.br is 11: write 0 to 8; what takes longer is for files/],
    [{ levels: { br: 9 } }, /levels.br is 9/],
    [{ levels: { gzip: 0 } }, /levels.gzip is 0: write 1 to 9/],
    [{ levels: { deflate: 10 } }, /levels.deflate is 10/],
    [{ levels: { zstd: 19 } }, /levels.zstd is 19: write 1 to 12/],
    [{ levels: { gzip: Number.NaN } }, /levels.gzip is NaN/],
    [{ breach: "pad", algorithms: ["br"] }, /breach is "pad", which only gzip can: add "gzip"/]
  ])("throws on %j, and says what to write", (options, message) => {
    for (const make of [Compression.policy, Compression.middleware]) {
      assert.throws(() => make(options), TypeError, message)
    }
  })
})

// ---------------------------------------------------------------------------------------------------------------------

const page = json(20_000)
const gzip = { "accept-encoding": "gzip" }
const compressed = Compression.middleware()
const response = HttpServerResponse.text(page)

/** What of it comes back, decoded. */
const reply = <E, R>(app: HttpApp.Default<E, R>, options: Parameters<typeof receive>[1] = { headers: gzip }) =>
  Effect.scoped(Effect.flatMap(listenTo(app), (port) => receive(port, options)))

describe("middleware", () => {
  it.effect("what does not fit the new bytes is gone, and the rest is there", () =>
    Effect.gen(function*() {
      const app = Effect.succeed(HttpServerResponse.text(page, {
        headers: {
          etag: "\"a\"",
          "accept-ranges": "bytes",
          "content-md5": "x",
          "content-digest": "x",
          "repr-digest": "x",
          digest: "x",
          "content-length": "20000",
          "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT",
          "content-language": "en",
          vary: "Accept",
          "x-own": "1"
        }
      }))
      const { bytes, headers } = yield* reply(compressed(app))
      const { connection: _, date: __, ...own } = headers
      assert.deepStrictEqual<Record<string, unknown>>(own, {
        "content-encoding": "gzip",
        "content-language": "en",
        "content-length": String(bytes.length),
        "content-type": "text/plain",
        etag: "W/\"a\"",
        "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT",
        vary: "Accept, accept-encoding",
        "x-own": "1"
      })
      assert.strictEqual(decode("gzip", bytes).toString(), page)
      const plain = yield* reply(compressed(app), {})
      assert.deepStrictEqual([plain.headers.etag, plain.headers["accept-ranges"], plain.headers.digest], [
        "\"a\"",
        "bytes",
        "x"
      ])
    }))

  it.effect("levels", () =>
    Effect.gen(function*() {
      const size = (levels: NonNullable<Compression.Options["levels"]>, coding: string) =>
        Effect.map(
          reply(Compression.middleware({ levels })(response), { headers: { "accept-encoding": coding } }),
          ({ bytes }) => bytes.length
        )
      for (const coding of codings) {
        assert.isBelow(yield* size({ [coding]: 8 }, coding), yield* size({ [coding]: 1 }, coding), coding)
        const usual = { zstd: 3, br: 4, gzip: 6, deflate: 6 }
        assert.strictEqual(yield* size({}, coding), yield* size({ [coding]: usual[coding] }, coding), coding)
      }
    }))

  it.effect("a body that would grow stays as it is", () =>
    Effect.gen(function*() {
      const noise = randomBytes(5000)
      const headers = { etag: "\"a\"", "accept-ranges": "bytes" }
      for (const size of [5000, 100_000]) {
        const body = Buffer.concat([noise, randomBytes(size - 5000)])
        const { bytes, headers: got } = yield* reply(
          compressed(HttpServerResponse.uint8Array(body, { headers, contentType: "text/plain" }))
        )
        assert.deepStrictEqual(
          [got["content-encoding"], got.etag, got["accept-ranges"], got.vary, got["content-length"]],
          [undefined, "\"a\"", "bytes", "accept-encoding", String(size)]
        )
        assert.isTrue(bytes.equals(body))
      }
    }))

  it.effect("identity is an opt-out that is not sent", () =>
    Effect.gen(function*() {
      const app = HttpServerResponse.setHeader(response, "content-encoding", "identity")
      const { bytes, headers } = yield* reply(compressed(app))
      assert.deepStrictEqual([headers["content-encoding"], headers.vary, bytes.toString()], [
        undefined,
        undefined,
        page
      ])
    }))

  it.effect("what was compressed inside is not compressed again", () =>
    Effect.gen(function*() {
      const twice = Stack.make(compressed, Compression.middleware({ name: "Inner" }))
      const { bytes, headers } = yield* reply(twice(response))
      assert.strictEqual(headers["content-encoding"], "gzip")
      assert.strictEqual(decode("gzip", bytes).toString(), page)
    }))

  it.effect("a validator that was sent with compressed bytes is known again", () =>
    Effect.gen(function*() {
      // as a handler with conditions of its own would: by weak comparison (RFC 9110 section 8.8.3.2)
      const app = Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) =>
        headers["if-none-match"]?.includes("\"a\"")
          ? HttpServerResponse.empty({ status: 304, headers: { etag: "\"a\"" } })
          : HttpServerResponse.setHeader(response, "etag", "\"a\""))
      for (const accepted of [gzip, {}]) {
        const first = yield* reply(compressed(app), { headers: accepted })
        const { etag } = first.headers
        const { headers, status } = yield* reply(compressed(app), { headers: { ...accepted, "if-none-match": etag } })
        assert.deepStrictEqual([status, headers.etag, headers.vary], [304, etag, "accept-encoding"])
      }
    }))

  it.effect("failures, defects and refusals are compressed too", () =>
    Effect.gen(function*() {
      const problem = HttpServerResponse.text(page, { status: 418 })
      for (const app of [Effect.fail(problem), Effect.die(problem)]) {
        const { bytes, headers, status } = yield* reply(compressed(app))
        assert.deepStrictEqual([status, headers["content-encoding"]], [418, "gzip"])
        assert.strictEqual(decode("gzip", bytes).toString(), page)
      }
    }))

  it.effect("merges Vary with that of others", () =>
    Effect.gen(function*() {
      const stack = Stack.make(compressed, Cors.middleware({ origins: ["https://a.example"] }))
      const { headers } = yield* reply(stack(response), { headers: { ...gzip, origin: "https://a.example" } })
      assert.strictEqual(headers.vary, "Origin, accept-encoding")
      const any = yield* reply(compressed(HttpServerResponse.setHeader(response, "vary", "*")))
      assert.strictEqual(any.headers.vary, "*")
    }))

  it.effect("a refusal of every form is a 406, if you say so", () =>
    Effect.gen(function*() {
      const strict = Compression.middleware({ unacceptable: "refuse" })
      const none = { headers: { "accept-encoding": "identity;q=0, compress" } }
      const { bytes, headers, status } = yield* reply(strict(response), none)
      assert.deepStrictEqual([status, headers["content-type"]], [406, "application/problem+json"])
      assert.deepStrictEqual(JSON.parse(bytes.toString()), {
        title: "Not Acceptable",
        status: 406,
        detail: "No content coding of this server is acceptable by the Accept-Encoding header"
      })
      assert.strictEqual((yield* reply(compressed(response), none)).status, 200)
      assert.strictEqual(new Compression.NotAcceptable().message, "No content coding is acceptable to the client")
    }))

  it.effect("the padding of what is personal varies, and hides in what clients pass over", () =>
    Effect.gen(function*() {
      const padded = Compression.middleware({ breach: "pad" })(
        HttpServerResponse.setHeader(response, "cache-control", "private")
      )
      const plain = (yield* reply(compressed(response))).bytes.length
      const lengths = new Set<number>()
      const port = yield* listenTo(padded)
      for (let i = 0; i < 40; i++) {
        const { bytes, headers } = yield* receive(port, { headers: gzip })
        assert.strictEqual(headers["content-length"], String(bytes.length))
        assert.strictEqual(decode("gzip", bytes).toString(), page)
        assert.isTrue(bytes.length >= plain + 2 && bytes.length <= plain + 101)
        lengths.add(bytes.length)
      }
      assert.isAbove(lengths.size, 10)
      // the randomness is the one that a test can fix
      const fixed = padded.pipe(
        Effect.provideService(Entropy.Entropy, { uuid: () => "", bytes: (size) => new Uint8Array(size).fill(255) })
      )
      assert.strictEqual((yield* reply(fixed)).bytes.length, plain + 65_535 % 100 + 2)
    }).pipe(Effect.scoped))

  it.effect("a principal's response is personal", () =>
    Effect.gen(function*() {
      class Caller extends Authentication.Tag("test/Compression/Caller")<Caller, string>() {}
      const identity = { user: "ada", scopes: [] }
      const backend = Authentication.bearerOf<string>(
        "any",
        {},
        (exchange, _, { challenge }) =>
          Authentication.Authenticated(exchange, { method: "any", subject: "ada", identity, challenge })
      )
      const stack = Stack.make(Compression.middleware({ breach: "skip" }), Caller.optional())
      const app = stack(response).pipe(Effect.provide(Caller.layer(backend)))
      assert.strictEqual((yield* reply(app)).headers["content-encoding"], "gzip")
      const { headers } = yield* reply(app, { headers: { ...gzip, authorization: "Bearer x" } })
      assert.strictEqual(headers["content-encoding"], undefined)
    }))
})

describe("bodies that are sent again and again", () => {
  /** How often what is sent is made anew, of requests for the same response. */
  const draft = (response: HttpServerResponse.HttpServerResponse, of = compressed) =>
    Effect.map(
      Effect.provideService(
        of(response),
        HttpServerRequest.HttpServerRequest,
        HttpServerRequest.fromWeb(new Request("http://localhost/", { headers: gzip }))
      ),
      ({ body }) => body._tag === "Uint8Array" ? body.body : undefined
    )

  it.effect("are compressed once", () =>
    Effect.gen(function*() {
      for (const size of [20_000, 100_000]) {
        const constant = HttpServerResponse.text(json(size))
        const [first, second, third, fourth] = yield* Effect.all([1, 2, 3, 4].map(() => draft(constant)))
        assert.deepStrictEqual(first, second)
        assert.notStrictEqual(first, second)
        assert.strictEqual(second, third)
        assert.strictEqual(third, fourth)
      }
    }))

  it.effect("in each coding, and by each middleware", () =>
    Effect.gen(function*() {
      const constant = HttpServerResponse.text(page)
      const port = yield* listenTo(compressed(constant))
      for (let i = 0; i < 3; i++) {
        for (const coding of codings) {
          const { bytes, headers } = yield* receive(port, { headers: { "accept-encoding": coding } })
          assert.strictEqual(headers["content-encoding"], coding)
          assert.strictEqual(decode(coding, bytes).toString(), page)
        }
      }
      const low = Compression.middleware({ levels: { gzip: 1 } })
      yield* draft(constant, low)
      assert.notDeepEqual(yield* draft(constant, low), yield* draft(constant))
    }).pipe(Effect.scoped))

  it.effect("one that is written to while another thread compresses it is sent as it was", () =>
    Effect.gen(function*() {
      const bytes = Buffer.from(json(500_000))
      const before = Buffer.from(bytes)
      const constant = HttpServerResponse.uint8Array(bytes, { contentType: "text/plain" })
      yield* draft(constant)
      const fiber = Effect.runFork(draft(constant))
      bytes.fill("a")
      assert.isTrue(decode("gzip", (yield* Fiber.join(fiber))!).equals(before))
    }))

  it.effect("one that is written to is another", () =>
    Effect.gen(function*() {
      const bytes = Buffer.from(page)
      for (const letter of ["a", "b", "c", "c", "d"]) {
        bytes.fill(letter, 0, 1)
        const coded = yield* draft(HttpServerResponse.uint8Array(bytes, { contentType: "text/plain" }))
        assert.isTrue(decode("gzip", coded!).equals(bytes), letter)
      }
    }))
})

// ---------------------------------------------------------------------------------------------------------------------

const chunk = Buffer.from(json(64 * 1024))
const endless = Stream.repeatValue(chunk)
const ofNode = (bytes: Iterable<Uint8Array>) => Readable.from(bytes)
function* forever() {
  while (true) yield chunk
}

const failsAfter = (chunks: number) => {
  function* failing() {
    for (let i = 0; i < chunks; i++) yield chunk
    throw new Error("broken")
  }
  return {
    "an Effect stream": () =>
      HttpServerResponse.stream(
        Stream.concat(Stream.take(endless, chunks), Stream.fail("broken")),
        { contentType: "text/plain" }
      ),
    "a stream of Node": () => HttpServerResponse.raw(ofNode(failing()), { contentType: "text/plain" })
  }
}

/** Asks, and leaves when the first bytes have come. */
const leaveEarly = (port: number, agent: Http.Agent) =>
  Effect.async<void>((resume) => {
    const request = Http.get({ port, host: "127.0.0.1", headers: gzip, agent }, (response) =>
      response.once("data", () => request.destroy()))
    request.on("error", () => {})
    request.on("close", () =>
      resume(Effect.void))
  })

describe("streams", () => {
  describe.each([0, 3])("that fail after %i chunks", (chunks) => {
    it.effect.each(Object.keys(failsAfter(0)) as Array<keyof ReturnType<typeof failsAfter>>)(
      "%s",
      (kind) =>
        Effect.gen(function*() {
          for (const stack of [compressed, Stack.make(ServerErrors.middleware(), compressed)]) {
            const { bytes, error } = yield* reply(stack(Effect.sync(failsAfter(chunks)[kind])))
            assert.isDefined(error, kind)
            // nor do the bytes pass for whole ones
            assert.throws(() => decode("gzip", bytes))
          }
          const handler = HttpApp.toWebHandler(compressed(Effect.sync(failsAfter(chunks)[kind])))
          const response = yield* Effect.promise(() => handler(new Request("http://localhost/", { headers: gzip })))
          assert.strictEqual(response.headers.get("content-encoding"), "gzip")
          const read = yield* Effect.promise(() => response.arrayBuffer().then(() => "whole", () => "broken"))
          assert.strictEqual(read, "broken")
        })
    )
  })

  it.scoped("what is left early is let go: an Effect stream, and one of Node", () =>
    Effect.gen(function*() {
      const counts = yield* handles()
      const open = { effect: 0, node: 0 }
      const app = HttpRouter.empty.pipe(
        HttpRouter.get(
          "/",
          Effect.sync(() => {
            open.effect++
            const body = Stream.ensuring(endless, Effect.sync(() => open.effect--))
            return HttpServerResponse.stream(body, { contentType: "text/plain" })
          })
        )
      )
      const readable = Effect.sync(() => {
        open.node++
        return HttpServerResponse.raw(ofNode(forever()).once("close", () => open.node--), { contentType: "text/plain" })
      })
      const agent = new Http.Agent({ keepAlive: false })
      for (const served of [app, readable]) {
        const port = yield* listenTo(compressed(served))
        const before = counts.begun
        yield* Effect.replicateEffect(leaveEarly(port, agent), 500).pipe(Effect.withConcurrency(20), Effect.asVoid)
        yield* until(() => open.effect + open.node === 0 && counts.closed === counts.begun)
        assert.strictEqual(counts.begun - before, 500)
      }
    }), 60_000)

  it.scoped("one that fails, and one that is whole, are let go too", () =>
    Effect.gen(function*() {
      const counts = yield* handles()
      const whole = () => HttpServerResponse.stream(Stream.take(endless, 2), { contentType: "text/plain" })
      for (const make of [...Object.values(failsAfter(1)), whole]) {
        yield* reply(compressed(Effect.sync(make)))
      }
      yield* until(() => counts.closed === counts.begun)
      // each of the bodies, and what the test reads none with
      assert.strictEqual(counts.begun, 3)
    }))

  it.scoped("a HEAD begins none, and what would have been read is closed", () =>
    Effect.gen(function*() {
      const counts = yield* handles()
      const readable = ofNode(forever())
      const options = { contentType: "text/plain", headers: { "content-length": "9999" } }
      const stack = Stack.make(ServerErrors.middleware(), compressed)
      for (const app of [HttpServerResponse.stream(endless, options), HttpServerResponse.raw(readable, options)]) {
        const { headers } = yield* reply(stack(app), { method: "HEAD", headers: gzip })
        assert.deepStrictEqual([headers["content-encoding"], headers["content-length"]], ["gzip", undefined])
      }
      assert.deepStrictEqual([counts.begun, readable.destroyed], [0, true])
    }))

  it.scoped("what is replaced further out is let go", () =>
    Effect.gen(function*() {
      const counts = yield* handles()
      const readable = ofNode(forever())
      const refuses = Middleware.make({
        name: "Refuses",
        response: (draft) => draft.refuse(new Compression.NotAcceptable())
      })
      const app = HttpServerResponse.raw(readable, { contentType: "text/plain" })
      const { status } = yield* reply(Stack.make(refuses, compressed)(app))
      assert.deepStrictEqual([status, readable.destroyed], [406, true])
      yield* until(() => counts.closed === counts.begun)
    }))

  it.effect("a HEAD that a handler answers itself is as its GET", () =>
    Effect.gen(function*() {
      const fields = { "content-type": "text/plain", "content-length": "9999", etag: "\"a\"" }
      const app = HttpServerResponse.empty({ status: 200, headers: fields })
      const { headers } = yield* reply(compressed(app), { method: "HEAD", headers: gzip })
      assert.deepStrictEqual(
        [headers["content-encoding"], headers["content-length"], headers.etag],
        ["gzip", undefined, "W/\"a\""]
      )
    }))

  it.scoped("a client that reads slowly is waited for", () =>
    Effect.gen(function*() {
      for (const kind of ["effect", "node"] as const) {
        // noise: no coding makes the network's part smaller
        const noise = randomBytes(64 * 1024)
        const total = 300
        let taken = 0
        const next = () => {
          taken++
          return noise
        }
        function* noises() {
          for (let i = 0; i < total; i++) yield next()
        }
        const port = yield* listenTo(compressed(Effect.sync(() =>
          kind === "effect"
            ? HttpServerResponse.stream(Stream.take(Stream.repeatEffect(Effect.sync(next)), total), {
              contentType: "text/plain"
            })
            : HttpServerResponse.raw(ofNode(noises()), { contentType: "text/plain" })
        )))
        const response = yield* Effect.async<Http.IncomingMessage>((resume) =>
          void Http.get({ port, host: "127.0.0.1", headers: gzip }, (response) => resume(Effect.succeed(response)))
        )
        let [last, quiet] = [0, 0]
        yield* until(() => {
          quiet = taken > 0 && taken === last ? quiet + 1 : 0
          last = taken
          return quiet > 2000
        })
        assert.isBelow(taken, total, kind)
        const bytes = yield* Effect.promise(() => response.pipe(Zlib.createGunzip()).toArray())
        assert.strictEqual(Buffer.concat(bytes as Array<Buffer>).length, total * noise.length)
      }
    }), 60_000)

  describe("chunks that are waited for", () => {
    /** Whether the first line has come before the second is made. */
    const firstAlone = (options: Compression.Options, type: string, coding: string) =>
      Effect.gen(function*() {
        const second = yield* Deferred.make<void>()
        const lines = Stream.concat(
          Stream.succeed(Buffer.from("first\n")),
          Stream.fromEffect(Effect.as(Deferred.await(second), Buffer.from("second\n")))
        )
        const app = HttpServerResponse.stream(lines, { contentType: type })
        const port = yield* listenTo(Compression.middleware(options)(app))
        const decoder = { gzip: Zlib.createGunzip, deflate: Zlib.createInflate, br: Zlib.createBrotliDecompress }
        return yield* Effect.promise(async () => {
          const response = await new Promise<Http.IncomingMessage>((resolve) =>
            Http.get({ port, host: "127.0.0.1", headers: { "accept-encoding": coding } }, resolve)
          )
          const lines: Array<string> = []
          const make = decoder[response.headers["content-encoding"] as keyof typeof decoder]
          for await (const line of make === undefined ? response : response.pipe(make())) {
            lines.push(String(line))
            Deferred.unsafeDone(second, Effect.void)
          }
          return lines
        })
      }).pipe(Effect.scoped)

    it.effect.each(["gzip", "deflate", "br"])("with flush, in %s", (coding) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* firstAlone({ flush: true }, "text/plain", coding), ["first\n", "second\n"])
      }))

    it.effect.each(["application/x-ndjson", "text/event-stream"])("always, of %s", (type) =>
      Effect.gen(function*() {
        const options = { compressible: () => true }
        assert.deepStrictEqual(yield* firstAlone(options, type, "gzip"), ["first\n", "second\n"])
      }))
  })
})

it.effect("what has no type is given none", () =>
  Effect.gen(function*() {
    const all = Compression.middleware({ compressible: () => true })
    const { bytes, headers } = yield* reply(all(HttpServerResponse.raw(page)))
    assert.deepStrictEqual([headers["content-type"], headers["content-length"]], [undefined, String(bytes.length)])
    assert.strictEqual(decode(headers["content-encoding"], bytes).toString(), page)
  }))

describe("bodies that platform's Node server takes from nobody else", () => {
  it.effect.each<[kind: string, make: () => HttpServerResponse.HttpServerResponse]>([
    ["a stream of the web", () => HttpServerResponse.raw(new Blob([page]).stream(), { contentType: "text/plain" })],
    ["a Blob", () => HttpServerResponse.raw(new Blob([page]), { contentType: "text/plain" })],
    ["a Blob that knows its type", () => HttpServerResponse.raw(new Blob([page], { type: "text/plain" }))]
  ])("%s", ([_, make]) =>
    Effect.gen(function*() {
      const { bytes, headers } = yield* reply(compressed(Effect.sync(make)))
      assert.deepStrictEqual([headers["content-encoding"], headers["content-type"]], ["gzip", "text/plain"])
      assert.strictEqual(decode("gzip", bytes).toString(), page)
    }))
})

describe("form data", () => {
  const form = () => {
    const form = new FormData()
    form.set("a", page)
    return HttpServerResponse.formData(form)
  }
  const read = (bytes: Buffer, type: string | null | undefined) =>
    Effect.promise(() => new Response(new Uint8Array(bytes), { headers: { "content-type": type ?? "" } }).formData())

  it.effect("is left as it is, and compressed where you say so", () =>
    Effect.gen(function*() {
      const all = Compression.middleware({ compressible: () => true })
      for (const [of, coding] of [[compressed, undefined], [all, "gzip"]] as const) {
        const { bytes, headers } = yield* reply(of(Effect.sync(form)))
        assert.strictEqual(headers["content-encoding"], coding)
        assert.strictEqual((yield* read(decode(coding, bytes), headers["content-type"])).get("a"), page)

        const handler = HttpApp.toWebHandler(of(Effect.sync(form)))
        const response = yield* Effect.promise(() => handler(new Request("http://localhost/", { headers: gzip })))
        assert.strictEqual(response.headers.get("content-encoding") ?? undefined, coding)
        const got = new Uint8Array(yield* Effect.promise(() => response.arrayBuffer()))
        assert.strictEqual((yield* read(decode(coding, got), response.headers.get("content-type"))).get("a"), page)
      }
    }))
})

it.effect("a Response keeps what it says of itself", () =>
  Effect.gen(function*() {
    const app = Effect.sync(() => {
      const headers = new Headers({ "content-type": "text/plain", etag: "\"a\"", "x-own": "1", vary: "Accept" })
      headers.append("set-cookie", "a=1")
      headers.append("set-cookie", "b=2")
      return HttpServerResponse.raw(new Response(page, { status: 404, statusText: "Gone Fishing", headers }), {
        headers: { "x-outer": "1" }
      })
    })
    const handler = HttpApp.toWebHandler(compressed(app))
    const response = yield* Effect.promise(() => handler(new Request("http://localhost/", { headers: gzip })))
    const bytes = new Uint8Array(yield* Effect.promise(() => response.arrayBuffer()))
    assert.strictEqual(decode("gzip", bytes).toString(), page)
    assert.deepStrictEqual([response.status, response.statusText], [404, "Gone Fishing"])
    assert.deepStrictEqual(response.headers.getSetCookie(), ["a=1", "b=2"])
    const own = Object.fromEntries([...response.headers].filter(([name]) => name !== "set-cookie"))
    assert.deepStrictEqual(own, {
      "content-encoding": "gzip",
      "content-type": "text/plain",
      etag: "W/\"a\"",
      vary: "Accept, accept-encoding",
      "x-own": "1",
      "x-outer": "1"
    })
  }))

describe("clients", () => {
  it.scoped("curl --compressed", () =>
    Effect.gen(function*() {
      const port = yield* listenTo(compressed(response))
      const { stdout } = yield* Effect.promise(() =>
        promisify(execFile)("curl", ["--silent", "--include", "--compressed", `http://127.0.0.1:${port}/`], {
          maxBuffer: 1024 * 1024
        })
      )
      const [head, body] = [stdout.slice(0, stdout.indexOf("\r\n\r\n")), stdout.slice(stdout.indexOf("\r\n\r\n") + 4)]
      assert.match(head, /^content-encoding: (?:br|gzip|zstd)$/m)
      assert.strictEqual(body, page)
    }))

  it.scoped("Node's fetch, also of a stream and of a HEAD", () =>
    Effect.gen(function*() {
      const stream = HttpServerResponse.stream(Stream.make(Buffer.from(page)), { contentType: "text/plain" })
      for (const app of [response, stream]) {
        const port = yield* listenTo(compressed(app))
        const get = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/`))
        assert.strictEqual(get.headers.get("content-encoding"), "gzip")
        assert.strictEqual(yield* Effect.promise(() => get.text()), page)
        const head = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/`, { method: "HEAD" }))
        assert.deepStrictEqual([head.headers.get("content-encoding"), yield* Effect.promise(() => head.text())], [
          "gzip",
          ""
        ])
      }
    }))
})
