import { HttpServer } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Chunk, Context, Effect, HashMap, Layer, Logger, Option, Queue, TestClock } from "effect"
import { DebugPage, Entropy, Stack } from "effect-middleware"
import * as Http from "node:http"
import { server, stack } from "../docs/examples/notes/app.js"
import { Note, NoteNotFound, Notes } from "../docs/examples/notes/Notes.js"
import { answered } from "./utils/laws.js"
import { nodeServer, request } from "./utils/TestApp.js"
import { connect } from "./utils/webSocket.js"

const notes = [1, 2, 3].map((id) => new Note({ id, text: `note ${id}` }))

/** The layer that a test swaps in: three notes, nothing else. */
const threeNotes = Layer.succeed(
  Notes,
  Notes.make({
    list: Effect.succeed(notes),
    create: (text) => Effect.succeed(new Note({ id: 4, text })),
    read: (id) => id <= 3 ? Effect.succeed(notes[id - 1]!) : new NoteNotFound({ id }),
    delete: () => Effect.void
  })
)

const start = (notes: Layer.Layer<Notes> = Notes.Default) =>
  Effect.map(
    Layer.build(server.pipe(Layer.provide(notes), Layer.provideMerge(nodeServer))),
    (context) => {
      const { address } = Context.get(context, HttpServer.HttpServer)
      return address._tag === "TcpAddress" ? address.port : 0
    }
  )

/** Until the server waits for the clock. */
const asleep: Effect.Effect<void> = Effect.flatMap(
  TestClock.sleeps(),
  (sleeps) => Chunk.isEmpty(sleeps) ? Effect.zipRight(macrotask, asleep) : Effect.void
)
const macrotask = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

const json = { "content-type": "application/json" }

describe("the notes example", () => {
  it.scoped("creates, reads, lists and deletes notes", () =>
    Effect.gen(function*() {
      const port = yield* start()
      const created = yield* request(port, { method: "POST", path: "/notes", headers: json, body: `{"text":"milk"}` })
      assert.deepStrictEqual([created.status, created.headers.location], [201, "/notes/1"])
      const read = yield* request(port, { path: "/notes/1" })
      assert.deepStrictEqual([read.status, read.body], [200, `{"id":1,"text":"milk"}`])
      assert.strictEqual((yield* request(port, { path: "/notes" })).body, `[{"id":1,"text":"milk"}]`)
      assert.strictEqual((yield* request(port, { method: "DELETE", path: "/notes/1" })).status, 204)
      assert.strictEqual((yield* request(port, { path: "/notes" })).body, "[]")
    }))

  it.scoped("answers every failure with a problem and the request id", () =>
    Effect.gen(function*() {
      const port = yield* start()
      const cases = [
        [{ path: "/notes/99" }, 404, "There is no note 99"],
        [{ path: "/notes/x" }, 400, "The request does not have the expected shape"],
        [{ path: "/notes?limit=x" }, 400, "The query does not have the expected shape"],
        [{ path: "/notes", method: "POST", headers: json, body: "{" }, 400, "The request could not be read"],
        [
          { path: "/notes", method: "POST", headers: json, body: "{}" },
          422,
          "The request does not have the expected shape"
        ],
        [
          { path: "/notes", method: "POST", headers: { "content-type": "text/plain" }, body: "milk" },
          415,
          "The content is not of a type that is expected here"
        ],
        [{ path: "/live" }, 426, "This resource is a WebSocket of version 13"],
        [{ path: "/broken/unavailable" }, 503, undefined],
        [{ path: "/broken/failure" }, 500, undefined],
        [{ path: "/broken/both" }, 500, undefined],
        [{ path: "/broken/unsendable" }, 500, undefined],
        [{ path: "/nothing" }, 404, undefined],
        [{ path: "/notes", method: "PUT" }, 405, undefined],
        [{ path: "/notes", headers: { host: "evil.test" } }, 400, "The Host header names no host of this server"]
      ] as const
      for (const [init, status, detail] of cases) {
        const reply = yield* request(port, init)
        assert.strictEqual(reply.status, status, init.path)
        assert.strictEqual(JSON.parse(reply.body).detail, detail)
        assert.match(reply.headers["x-request-id"] ?? "", /^[0-9a-f-]{36}$/)
      }
    }))

  it.scoped("tells the client nothing of a defect but the request id, under which the log has it", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make(({ annotations, cause }) => {
        if (Cause.isEmpty(cause)) return // the access log
        lines.push(`${Option.getOrUndefined(HashMap.get(annotations, "request.id"))} ${Cause.pretty(cause)}`)
      })
      const port = yield* Effect.provide(start(), Logger.replace(Logger.defaultLogger, logger))
      const reply = yield* request(port, { path: "/broken/defect" })
      const { requestId, ...problem } = JSON.parse(reply.body)
      assert.deepStrictEqual([reply.status, problem], [500, { title: "Internal Server Error", status: 500 }])
      assert.strictEqual(requestId, reply.headers["x-request-id"])
      assert.match(reply.headers["x-request-id"] ?? "", /^[0-9a-f-]{36}$/)
      assert.strictEqual(lines.length, 1)
      assert.match(lines[0]!, new RegExp(`^${reply.headers["x-request-id"]} .*the client is told nothing of it`))
    }))

  it.scoped("takes the address from the connection, and the id from nobody", () =>
    Effect.gen(function*() {
      const { body } = yield* request(yield* start(), {
        path: "/whoami",
        headers: { "x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "x-request-id": "mine" }
      })
      const { address, id, scheme } = JSON.parse(body)
      assert.deepStrictEqual([address, scheme], ["127.0.0.1", "http"])
      assert.notStrictEqual(id, "mine")
    }))

  it.scoped("lets a page of a development server read, measures, and logs the request", () =>
    Effect.gen(function*() {
      const lines = yield* Queue.unbounded<string>()
      const logger = Logger.make(({ annotations, message }) =>
        void lines.unsafeOffer(`${message} ${Option.getOrUndefined(HashMap.get(annotations, "request.id"))}`)
      )
      const port = yield* Effect.provide(start(), Logger.replace(Logger.defaultLogger, logger))
      const origin = "http://localhost:5173"
      const reply = yield* request(port, { path: "/notes/99", headers: { origin } })
      assert.deepStrictEqual(
        [reply.status, reply.headers["access-control-allow-origin"], reply.headers["server-timing"]],
        [404, origin, "total;dur=0"]
      )
      assert.strictEqual(yield* Queue.take(lines), `GET /notes/:id 404 ${reply.headers["x-request-id"]}`)
      assert.strictEqual(
        (yield* request(port, { path: "/notes" })).headers["server-timing"],
        "total;dur=0, notes;dur=0"
      )
      const preflight = { origin, "access-control-request-method": "DELETE" }
      const { headers, status } = yield* request(port, { method: "OPTIONS", path: "/notes/1", headers: preflight })
      assert.deepStrictEqual([status, headers["access-control-allow-methods"]], [204, "GET, HEAD, POST, DELETE"])
    }))

  it.scoped("streams: the first note arrives before the last is produced", () =>
    Effect.gen(function*() {
      const port = yield* start(threeNotes)
      const chunks = yield* Queue.unbounded<string>()
      yield* Effect.async<void>((resume) => {
        Http.get({ port, host: "127.0.0.1", path: "/notes/stream", agent: false }, (response) => {
          resume(Effect.void)
          response.on("data", (chunk) => chunks.unsafeOffer(String(chunk)))
          response.on("end", () => chunks.unsafeOffer("end"))
        })
      })
      assert.strictEqual(JSON.parse(yield* Queue.take(chunks)).id, 1)
      // the clock stands still until the test moves it: nothing further can have been produced
      for (const { id } of notes.slice(1)) {
        yield* asleep
        assert.strictEqual(yield* Queue.size(chunks), 0)
        yield* TestClock.adjust("250 millis")
        assert.strictEqual(JSON.parse(yield* Queue.take(chunks)).id, id)
      }
      assert.strictEqual(yield* Queue.take(chunks), "end")
    }))

  it.scoped("has ids that a test can fix", () =>
    Effect.gen(function*() {
      const port = yield* start().pipe(Effect.provideService(Entropy.Entropy, {
        uuid: () => "00000000-0000-4000-8000-000000000000",
        bytes: (size) => new Uint8Array(size)
      }))
      yield* TestClock.setTime(0x0123456789ab)
      const { headers } = yield* request(port, { path: "/notes" })
      assert.strictEqual(headers["x-request-id"], "01234567-89ab-7000-8000-000000000000")
    }))

  it.scopedLive("has a WebSocket, which says what is wrong by its code", () =>
    Effect.gen(function*() {
      const port = yield* start(threeNotes)
      const client = yield* Effect.orDieWith(connect(port, { path: "/live" }), (closed) =>
        new Error(JSON.stringify(closed)))
      client.send("1")
      assert.strictEqual(yield* answered(client.next), "{\"id\":1,\"text\":\"note 1\"}")
      client.send("9")
      assert.deepStrictEqual(yield* answered(client.closed), { code: 4004, reason: "There is no such note" })
    }))

  it.scopedLive("has a page for developers", () =>
    Effect.gen(function*() {
      const port = yield* Effect.provide(start(), [DebugPage.layer(), Logger.remove(Logger.defaultLogger)])
      const { body } = yield* request(port, { path: "/broken/both", headers: { host: "localhost" } })
      for (
        const line of [
          "in parallel",
          "failure Unexpected",
          "apiKey: <redacted>",
          "defect RuntimeException: a defect: the client is told nothing of it",
          "app (the app)  <- failed here"
        ]
      ) {
        assert.include(body, line)
      }
    }))

  it("draws its onion", () => {
    assert.strictEqual(
      Stack.describe(stack),
      `
ServerErrors                         ↔ wraps
│ Forwarded                          → request  provides effect-middleware/Forwarded/Client
│ │ RequestId                        → request  provides effect-middleware/RequestId  ← response
│ │ │ AccessLog                      → request  provides effect-middleware/AccessLog/Fields  ← response
│ │ │ │ ServerTiming                 → request  provides effect-middleware/ServerTiming  ← response
│ │ │ │ │ ProblemDetails             ← response
│ │ │ │ │ │ Cors                     → request  ← response
│ │ │ │ │ │ │ TrustedHost            → request
│ │ │ │ │ │ │ │ WebSocket            → request  provides effect-middleware/WebSocket/Handshake
│ │ │ │ │ │ │ │ │ ExceptionHandlers  ↔ wraps
│ │ │ │ │ │ │ │ │ │ app`.slice(1)
    )
  })
})
