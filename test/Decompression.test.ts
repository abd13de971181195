import { HttpServerRequest, HttpServerResponse, Multipart } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Schema, Stream } from "effect"
import type { Middleware } from "effect-middleware"
import { BodyLimit, Decompression, ExceptionHandlers, ServerErrors, Stack, Validate } from "effect-middleware"
import { execFile, execFileSync } from "node:child_process"
import * as Net from "node:net"
import * as Zlib from "node:zlib"
import { codings, encode, handles, json, receive, until } from "./utils/compression.js"
import { listenTo, mounts, send } from "./utils/TestApp.js"

type Request = HttpServerRequest.HttpServerRequest
type Bytes = Uint8Array<ArrayBuffer>

describe("policy", () => {
  const unknown = { _tag: "Unsupported", reason: "unknown" } as const
  const layers = { _tag: "Unsupported", reason: "layers" } as const
  const decoded = (...codings: ReadonlyArray<"gzip" | "br" | "deflate">) => ({ _tag: "Decode", codings } as const)

  it.each<[header: string | undefined, most: number, expected: Decompression.Decision]>([
    [undefined, 1, { _tag: "Pass" }],
    ["", 1, { _tag: "Pass" }],
    ["identity", 1, { _tag: "Pass" }],
    ["gzip", 1, decoded("gzip")],
    ["GZip", 1, decoded("gzip")],
    ["x-gzip", 1, decoded("gzip")],
    ["deflate", 1, decoded("deflate")],
    [" br ", 1, decoded("br")],
    ["identity, gzip", 1, decoded("gzip")],
    ["gzip, br", 2, decoded("br", "gzip")],
    ["gzip, br, deflate", 3, decoded("deflate", "br", "gzip")],
    ["gzip, gzip", 1, layers],
    ["gzip, br, deflate", 2, layers],
    ["compress", 1, unknown],
    ["gzip;q=1", 1, unknown],
    ["gzip br", 1, unknown],
    ["*", 1, unknown],
    ["constructor", 1, unknown],
    ["gzip, compress", 2, unknown]
  ])("%j, at most %i", (header, most, expected) => {
    assert.deepStrictEqual(Decompression.policy({ layers: most })(header), expected)
  })

  it("takes those that are named", () => {
    const decide = Decompression.policy({ algorithms: ["gzip"] })
    assert.deepStrictEqual([decide("gzip"), decide("br")], [decoded("gzip"), unknown])
  })

  it.prop("never decodes what it does not know, nor more than it is told", [FastCheck.string()], ([header]) => {
    const decision = Decompression.policy({ layers: 2 })(header)
    if (decision._tag === "Decode") assert.isAtMost(decision.codings.length, 2)
  })

  it.each<[options: Decompression.Options, message: RegExp]>([
    [{ algorithms: [] }, /algorithms has none that this Node knows: add "gzip"/],
    [{ algorithms: ["compress" as "gzip"] }, /algorithms has "compress": write some of zstd, br, gzip, deflate/],
    [{ limit: "1 MB" as "1 MiB" }, /limit is "1 MB": write a number of bytes, such as 65536 or "64 KiB"/],
    [{ limit: -1 }, /limit is "-1"/],
    [{ ratio: 0.5 }, /ratio is 0.5: write a number from 1 on, or Infinity/],
    [{ ratio: Number.NaN }, /ratio is NaN/],
    [{ layers: 0 }, /layers is 0: write 1, 2 or 3/],
    [{ layers: 4 }, /layers is 4/],
    [{ layers: 1.5 }, /layers is 1.5/]
  ])("throws on %j, and says what to write", (options, message) => {
    for (const make of [Decompression.policy, Decompression.middleware]) {
      assert.throws(() => make(options), TypeError, message)
    }
  })
})

// ---------------------------------------------------------------------------------------------------------------------

const decoding = Decompression.middleware()
const read = <A, E, R>(f: (request: Request) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, f)
const text = Effect.map(read(({ text }) => text), (text) => HttpServerResponse.text(text))
const ok = HttpServerResponse.text("ok")
const post = (coding: string, body: Bytes) => ({
  method: "POST",
  headers: { "content-encoding": coding, "content-length": String(body.length) },
  body
})

const form = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n"
const formType = "multipart/form-data; boundary=b"

/** Each way to read a body, what is sent, and what is read. */
const readers: ReadonlyArray<
  readonly [
    kind: string,
    type: string,
    body: string,
    read: (request: Request) => Effect.Effect<unknown, unknown, unknown>
  ]
> = [
  ["text", "text/plain", "é", ({ text }) => text],
  ["json", "application/json", "\"é\"", ({ json }) => json],
  [
    "urlParamsBody",
    "application/x-www-form-urlencoded",
    "a=é",
    ({ urlParamsBody }) => Effect.map(urlParamsBody, (params) => params[0]?.[1])
  ],
  [
    "arrayBuffer",
    "text/plain",
    "é",
    ({ arrayBuffer }) => Effect.map(arrayBuffer, (bytes) => Buffer.from(bytes).toString())
  ],
  ["stream", "text/plain", "é", ({ stream }) => Stream.mkString(Stream.decodeText(stream))],
  ["multipart", formType, form.replace("1", "é"), ({ multipart }) => Effect.map(multipart, ({ a }) => a)],
  [
    "multipartStream",
    formType,
    form.replace("1", "é"),
    ({ multipartStream }) =>
      Stream.runFold(multipartStream, "", (all, part) => Multipart.isField(part) ? all + part.value : all)
  ],
  ["schemaBodyJson", "application/json", "\"é\"", () => HttpServerRequest.schemaBodyJson(Schema.String)],
  [
    "schemaBodyForm",
    formType,
    form.replace("1", "é"),
    () => Effect.map(HttpServerRequest.schemaBodyForm(Schema.Struct({ a: Schema.String })), ({ a }) => a)
  ],
  [
    "schemaBodyUrlParams",
    "application/x-www-form-urlencoded",
    "a=é",
    () => Effect.map(HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ a: Schema.String })), ({ a }) => a)
  ]
]

const appOf = (f: (request: Request) => Effect.Effect<unknown, unknown, unknown>) =>
  Effect.map(read(f), (value) => HttpServerResponse.text(String(value))).pipe(
    Effect.scoped,
    Effect.provide(NodeContext.layer)
  ) as Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, never>

const problem = (status: number, title: string, detail: string) => ({ title, status, detail })
const tooLarge = problem(413, "Content Too Large", "The decoded content is larger than this server takes")
const malformed = problem(400, "Bad Request", "The content is not what its Content-Encoding says")

describe("middleware", () => {
  describe.each(mounts)("$name", ({ mount }) => {
    it.scoped.each(readers)("read as %s", ([_, type, body, f]) =>
      Effect.gen(function*() {
        const request = yield* mount(appOf(f), decoding)
        for (const coding of codings) {
          const { headers, ...init } = post(coding, encode(coding, body))
          const reply = yield* request({ ...init, headers: { ...headers, "content-type": type } })
          assert.deepStrictEqual([reply.status, reply.body], [200, "é"], coding)
        }
        const plain = yield* request({ method: "POST", body, headers: { "content-type": type } })
        assert.deepStrictEqual([plain.status, plain.body], [200, "é"])
      }))

    it.scoped("refuses what it does not know, before the app runs, and says what it does", () =>
      Effect.gen(function*() {
        const request = yield* mount(Effect.dieMessage("the app ran"), decoding)
        for (const coding of ["compress", "gzip, gzip"]) {
          const { body, headers, status } = yield* request(post(coding, encode("gzip", "a")))
          assert.deepStrictEqual([status, headers["accept-encoding"]], [415, codings.join(", ")])
          assert.deepStrictEqual(
            JSON.parse(body),
            problem(415, "Unsupported Media Type", "This server does not take a content coding of the request")
          )
        }
      }))

    it.scoped("whatever the handler makes of a body that is none", () =>
      Effect.gen(function*() {
        const apps = {
          "fails with it": text,
          "swallows the error": Effect.as(Effect.ignore(read(({ text }) => text)), ok),
          "answers it": Effect.orElseSucceed(text, () => HttpServerResponse.text("no", { status: 422 })),
          "dies of it": Effect.orDie(text)
        }
        const cut = encode("gzip", json(5000)).slice(0, -10)
        const bomb = encode("gzip", Buffer.alloc(2 * 1024 * 1024))
        for (const [what, app] of Object.entries(apps)) {
          const request = yield* mount(app, decoding)
          for (const [bytes, expected] of [[cut, malformed], [bomb, tooLarge]] as const) {
            const { body, status } = yield* request(post("gzip", bytes))
            assert.deepStrictEqual([status, JSON.parse(body)], [expected.status, expected], what)
          }
        }
      }))
  })

  const ask = (options: Decompression.Options, coding: string, bytes: Bytes, app = text) =>
    Effect.map(
      Effect.scoped(Effect.flatMap(
        listenTo(Decompression.middleware(options)(app)),
        (port) => receive(port, post(coding, bytes))
      )),
      ({ bytes, status }) => [status, status === 200 ? bytes.toString() : undefined] as const
    )

  it.effect.each(codings)("what is malformed, in %s", (coding) =>
    Effect.gen(function*() {
      const body = json(5000)
      const whole = encode(coding, body)
      const wrong = new Uint8Array(whole)
      wrong.set([0xff, 0xff, 0xff, 0xff], Math.floor(whole.length / 2))
      const cases: ReadonlyArray<readonly [what: string, bytes: Bytes]> = [
        ["cut at the end", whole.slice(0, -1)],
        ["cut in the middle", whole.slice(0, whole.length / 2)],
        ["one byte of it", whole.slice(0, 1)],
        ["not coded", new TextEncoder().encode(body)],
        ["followed by something else", new Uint8Array([...whole, 1, 2, 3])],
        ["damaged", wrong]
      ]
      for (const [what, bytes] of cases) assert.deepStrictEqual(yield* ask({}, coding, bytes), [400, undefined], what)
      assert.deepStrictEqual(yield* ask({}, coding, whole), [200, body])
      // nothing is nothing in every coding
      assert.deepStrictEqual(yield* ask({}, coding, new Uint8Array()), [200, ""])
    }))

  it.effect("gzip may be of several members, and is not deflate", () =>
    Effect.gen(function*() {
      const two = new Uint8Array([...encode("gzip", "a"), ...encode("gzip", "b")])
      assert.deepStrictEqual(yield* ask({}, "gzip", two), [200, "ab"])
      assert.deepStrictEqual(yield* ask({}, "deflate", two), [400, undefined])
      assert.deepStrictEqual(yield* ask({}, "deflate", new Uint8Array(Zlib.deflateRawSync("a"))), [400, undefined])
    }))

  it.effect.each(codings)("the size that comes out, in %s", (coding) =>
    Effect.gen(function*() {
      const limit = 100_000
      assert.strictEqual((yield* ask({ limit }, coding, encode(coding, json(limit))))[0], 200)
      assert.strictEqual((yield* ask({ limit }, coding, encode(coding, json(limit + 1))))[0], 413)
      assert.strictEqual((yield* ask({ limit: 0 }, coding, encode(coding, "a")))[0], 413)
    }))

  it.effect("how much larger it is, from the second MiB on", () =>
    Effect.gen(function*() {
      const zeros = (size: number) => encode("gzip", Buffer.alloc(size))
      const mib = 1024 * 1024
      const status = (options: Decompression.Options, bytes: Bytes) =>
        Effect.map(
          ask(
            { limit: "10 MiB", ...options },
            "gzip",
            bytes,
            Effect.as(read(({ stream }) => Stream.runDrain(stream)), ok)
          ),
          ([status]) => status
        )
      assert.strictEqual(yield* status({}, zeros(mib)), 200)
      assert.strictEqual(yield* status({}, zeros(mib + 1)), 413)
      assert.strictEqual(yield* status({ ratio: 2000 }, zeros(5 * mib)), 200)
      assert.strictEqual(yield* status({ ratio: Infinity }, zeros(5 * mib)), 200)
      assert.strictEqual(yield* status({ ratio: 3 }, encode("gzip", json(3 * mib))), 413)
      assert.strictEqual(yield* status({}, encode("gzip", json(3 * mib))), 200)
    }))

  it.effect("one coding in another", () =>
    Effect.gen(function*() {
      const body = json(5000)
      const bytes = encode("br", encode("gzip", encode("deflate", body)))
      assert.deepStrictEqual(yield* ask({ layers: 3 }, "deflate, x-gzip, br", bytes), [200, body])
      assert.deepStrictEqual(yield* ask({ layers: 3 }, "br, gzip, deflate", bytes), [400, undefined])
      assert.deepStrictEqual(yield* ask({ layers: 2 }, "deflate, gzip, br", bytes), [415, undefined])
      // a bomb in a bomb is stopped by what comes out of the first
      const bomb = encode("gzip", encode("gzip", Buffer.alloc(64 * 1024 * 1024)))
      assert.isBelow(bomb.length, 1000)
      assert.deepStrictEqual(yield* ask({ layers: 2 }, "gzip, gzip", bomb), [413, undefined])
      // so is one of which nearly nothing comes in the end: to decode a hundred thousand members takes its time, too
      const members = encode("gzip", Buffer.concat(Array(100_000).fill(encode("gzip", ""))))
      assert.isBelow(members.length, 6000)
      assert.deepStrictEqual(yield* ask({ layers: 2 }, "gzip, gzip", members), [413, undefined])
    }))

  it.effect("what is inside sees neither coding nor length, and what has no coding as it is", () =>
    Effect.gen(function*() {
      const app = read(({ headers }) =>
        Effect.succeed(HttpServerResponse.unsafeJson({
          coding: headers["content-encoding"],
          length: headers["content-length"],
          framing: headers["transfer-encoding"],
          own: headers["x-own"]
        }))
      )
      const port = yield* listenTo(decoding(app))
      const ask = (headers: Record<string, string>, body = "abc") =>
        Effect.map(
          receive(port, {
            method: "POST",
            headers: { "x-own": "1", "content-length": String(body.length), ...headers },
            body
          }),
          ({ bytes }) => JSON.parse(bytes.toString())
        )
      assert.deepStrictEqual(yield* ask({ "content-encoding": "gzip" }), { framing: "chunked", own: "1" })
      assert.deepStrictEqual(yield* ask({ "content-encoding": "gzip" }, ""), { own: "1" })
      assert.deepStrictEqual(yield* ask({ "content-encoding": "identity" }), {
        coding: "identity",
        length: "3",
        own: "1"
      })
      assert.deepStrictEqual(yield* ask({}), { length: "3", own: "1" })
    }).pipe(Effect.scoped))

  it.effect("that there is a body is seen inside", () =>
    Effect.gen(function*() {
      const stack = Stack.make(decoding, Validate.contentType(["application/json"]))
      const { status } = yield* send(stack(ok), post("gzip", encode("gzip", "{}")))
      assert.strictEqual(status, 415)
      const port = yield* listenTo(stack(ok))
      assert.strictEqual((yield* receive(port, post("gzip", encode("gzip", "{}")))).status, 415)
    }).pipe(Effect.scoped))

  it.effect("BodyLimit counts what is sent outside, and what comes out inside", () =>
    Effect.gen(function*() {
      const limit = BodyLimit.middleware({ limit: 1000 })
      const body = encode("gzip", json(5000))
      assert.isBelow(body.length, 1000)
      const status = (
        stack: Middleware.Middleware<never, BodyLimit.BodyTooLarge | Middleware.Middleware.Fails<typeof decoding>>,
        bytes: Bytes,
        length?: string
      ) =>
        Effect.scoped(Effect.flatMap(listenTo(stack(text)), (port) => {
          const { headers, ...init } = post("gzip", bytes)
          const framing = length === undefined ? { "transfer-encoding": "chunked" } : { "content-length": length }
          return Effect.map(
            receive(port, { ...init, headers: { "content-encoding": headers["content-encoding"], ...framing } }),
            ({ status }) => status
          )
        }))
      for (const length of [undefined, String(body.length)]) {
        assert.strictEqual(yield* status(Stack.make(limit, decoding), body, length), 200)
        assert.strictEqual(yield* status(Stack.make(decoding, limit), body, length), 413)
        const small = encode("gzip", json(500))
        assert.strictEqual(yield* status(Stack.make(decoding, limit), small, length && String(small.length)), 200)
      }
      const noise = encode("gzip", crypto.getRandomValues(new Uint8Array(2000)))
      for (const length of [undefined, String(noise.length)]) {
        assert.strictEqual(yield* status(Stack.make(limit, decoding), noise, length), 413)
      }
    }))

  it.effect("what nobody reads is not decoded", () =>
    Effect.gen(function*() {
      const counts = yield* handles()
      const port = yield* listenTo(decoding(ok))
      const { status } = yield* receive(port, post("gzip", new Uint8Array([1, 2, 3])))
      assert.deepStrictEqual([status, counts.begun], [200, 0])
    }).pipe(Effect.scoped))

  it.effect("a refusal is a failure to handle, and knows why", () =>
    Effect.gen(function*() {
      const handled = Stack.make(
        ExceptionHandlers.byTag({
          UnsupportedCoding: (error: Decompression.UnsupportedCoding) =>
            HttpServerResponse.text(error.message, { status: 400 })
        }),
        decoding
      )
      const { body } = yield* send(handled(ok), post("compress", new Uint8Array([1])))
      assert.strictEqual(body, `The body of the request has a content coding other than ${codings.join(", ")}`)
      const tooMany = yield* send(handled(ok), post("br, br", new Uint8Array([1])))
      assert.strictEqual(tooMany.body, "The body of the request has too many content codings")
      const messages = [
        new Decompression.MalformedCoding(),
        new Decompression.DecompressedTooLarge({ reason: "size", limit: 5 }),
        new Decompression.DecompressedTooLarge({ reason: "ratio", limit: 5 })
      ].map(({ message }) => message)
      assert.deepStrictEqual(messages, [
        "The body of the request is not what its Content-Encoding says",
        "The body of the request has more than 5 bytes once it is decoded",
        "The body of the request is more than 5 times as large once it is decoded"
      ])
    }))

  it.effect("curl", () =>
    Effect.gen(function*() {
      const port = yield* listenTo(decoding(text))
      const ask = yield* Effect.promise(() => {
        return new Promise<string>((resolve, reject) => {
          const child = execFile(
            "curl",
            ["-s", "--data-binary", "@-", "-H", "content-encoding: gzip", `http://127.0.0.1:${port}/`],
            (error, stdout) => error === null ? resolve(stdout) : reject(error)
          )
          child.stdin!.end(execFileSync("gzip", ["-c"], { input: json(3000) }))
        })
      })
      assert.strictEqual(ask, json(3000))
    }).pipe(Effect.scoped))
})

describe("what is begun is let go", () => {
  const raw = (coding: string, length: number) =>
    `POST / HTTP/1.1\r\nhost: a\r\ncontent-encoding: ${coding}\r\ncontent-length: ${length}\r\n\r\n`

  it.scoped("where the client leaves in the middle", () =>
    Effect.gen(function*() {
      const half = encode("gzip", json(50_000)).slice(0, 1000)
      const counts = yield* handles()
      const port = yield* listenTo(Stack.make(ServerErrors.middleware(), decoding)(text))
      yield* Effect.replicateEffect(
        Effect.async<void>((resume) => {
          const { begun } = counts
          const socket = Net.connect(port, "127.0.0.1", () => {
            socket.write(raw("gzip", 5000))
            socket.write(half)
          })
          socket.on("error", () => {})
          socket.on("close", () => resume(Effect.void))
          Effect.runFork(Effect.zipRight(until(() => counts.begun > begun), Effect.sync(() => socket.destroy())))
        }),
        100
      )
      yield* until(() => counts.closed === counts.begun)
      assert.strictEqual(counts.begun, 100)
    }), 60_000)

  it.scoped(
    "after a bomb, and after what is malformed; the rest of a body is not waited for",
    () =>
      Effect.gen(function*() {
        const [bomb, wrong] = [encode("gzip", Buffer.alloc(50 * 1024 * 1024)), new TextEncoder().encode(json(5000))]
        const counts = yield* handles()
        const port = yield* listenTo(decoding(text))
        for (const [body, status] of [[bomb, 413], [wrong, 400]] as const) {
          const answer = yield* Effect.async<string>((resume) => {
            const socket = Net.connect(port, "127.0.0.1")
            // more is said to come
            socket.write(raw("gzip", body.length + 1))
            socket.write(body)
            let answer = ""
            socket.on("data", (bytes) => void (answer += String(bytes)))
            socket.on("end", () => resume(Effect.succeed(answer)))
          })
          assert.match(answer, new RegExp(`^HTTP/1.1 ${status} [^]*\r\nConnection: close\r\n`))
        }
        yield* until(() => counts.closed === counts.begun)
        assert.strictEqual(counts.begun, 2)
      }),
    60_000
  )
})
