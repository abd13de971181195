import { HttpServer } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Chunk, Context, Effect, HashMap, Layer, Logger, Option, Queue, TestClock } from "effect"
import { DebugPage, Entropy, SessionStore, Stack } from "effect-middleware"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Path from "node:path"
import { server, stack } from "../docs/examples/notes/app.js"
import { Note, NoteNotFound, Notes } from "../docs/examples/notes/Notes.js"
import { describeRedis } from "./utils/describeRedis.js"
import { answered } from "./utils/laws.js"
import { makeServer } from "./utils/redis.js"
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

const start = (
  notes: Layer.Layer<Notes> = Notes.Default,
  store: Layer.Layer<SessionStore.SessionStore> = SessionStore.layerMemory()
) =>
  Effect.map(
    Layer.build(server.pipe(Layer.provide([notes, store]), Layer.provideMerge(nodeServer))),
    (context) => {
      const { address } = Context.get(context, HttpServer.HttpServer)
      return address._tag === "TcpAddress" ? address.port : 0
    }
  )

// --- sessions --------------------------------------------------------------------------------------------------------

/** Keeps the cookie that it is given, for all ports, as browsers do. */
const makeBrowser = (cookie = "") => {
  const browser = {
    cookie,
    ask: (port: number, method: string, path: string, body?: object) =>
      Effect.map(
        request(port, {
          method,
          path,
          headers: { cookie: browser.cookie, ...body && json },
          ...body && { body: JSON.stringify(body) }
        }),
        (reply) => {
          for (const set of reply.cookies) browser.cookie = set.includes("Max-Age=0") ? "" : set.split(";")[0]!
          return { ...reply, json: reply.body === "" ? undefined : JSON.parse(reply.body) }
        }
      ),
    get: (port: number, path: string) => browser.ask(port, "GET", path),
    post: (port: number, path: string, body: object) => browser.ask(port, "POST", path, body),
    delete: (port: number, path: string) => browser.ask(port, "DELETE", path)
  }
  return browser
}

/** Two browsers at two ports, which may be of one server. */
const visit = (here: number, there: number) =>
  Effect.gen(function*() {
    const [laptop, phone] = [makeBrowser(), makeBrowser()]

    // a cart needs no name
    assert.deepStrictEqual((yield* laptop.get(here, "/cart")).cookies, [])
    const { cookies, json } = yield* laptop.post(here, "/cart", { item: "tea" })
    assert.deepStrictEqual(json, { cart: ["tea"] })
    assert.lengthOf(cookies, 1)
    assert.match(cookies[0]!, /^session=[\w-]{43}; Max-Age=1209600; Path=\/; HttpOnly; SameSite=Lax$/)
    assert.strictEqual((yield* laptop.get(there, "/sessions")).status, 403)

    // it is kept by who logs in, under another identifier; the message is shown once
    const before = makeBrowser(laptop.cookie)
    assert.strictEqual((yield* laptop.post(here, "/login", { name: "ada" })).status, 204)
    assert.notStrictEqual(laptop.cookie, before.cookie)
    const mine = { name: "ada", cart: ["tea"] }
    assert.deepStrictEqual((yield* laptop.get(there, "/cart")).json, { ...mine, messages: ["Welcome, ada"] })
    assert.deepStrictEqual((yield* laptop.get(here, "/cart")).json, { ...mine, messages: [] })

    // the one from before is nobody's, and changes nothing
    assert.deepStrictEqual((yield* before.get(there, "/cart")).json, { cart: ["tea"], messages: [] })
    assert.strictEqual((yield* before.get(there, "/sessions")).status, 403)
    assert.strictEqual((yield* before.post(there, "/cart", { item: "salt" })).status, 409)
    assert.strictEqual((yield* before.post(there, "/logout-everywhere", {})).status, 403)

    // another browser, which the first one ends
    yield* phone.post(there, "/login", { name: "ada" })
    const sessions: ReadonlyArray<{ id: string; current: boolean }> = (yield* laptop.get(here, "/sessions")).json
    assert.deepStrictEqual(sessions.map(({ current }) => current).sort(), [false, true])
    const { id } = sessions.find(({ current }) => !current)!
    assert.notInclude(phone.cookie, id)
    assert.strictEqual((yield* laptop.delete(there, `/sessions/${id}`)).status, 204)
    assert.strictEqual((yield* laptop.delete(here, `/sessions/${id}`)).status, 404)
    assert.strictEqual((yield* phone.get(here, "/sessions")).status, 403)

    // out, at one
    yield* phone.post(here, "/login", { name: "ada" })
    yield* phone.post(here, "/logout", {})
    assert.deepStrictEqual([phone.cookie, (yield* laptop.get(there, "/sessions")).json.length], ["", 1])

    // out, everywhere
    yield* phone.post(there, "/login", { name: "ada" })
    const [old, others] = [makeBrowser(laptop.cookie), makeBrowser(phone.cookie)]
    assert.deepStrictEqual((yield* laptop.post(here, "/logout-everywhere", {})).json, { ended: 2 })
    assert.strictEqual(laptop.cookie, "")
    for (const { get } of [old, others]) {
      assert.deepStrictEqual((yield* get(there, "/cart")).json, { cart: [], messages: [] })
      assert.strictEqual((yield* get(here, "/sessions")).status, 403)
    }
  })

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

  it.scoped("remembers a visitor, who logs in, and logs out everywhere", () =>
    Effect.gen(function*() {
      const port = yield* start()
      yield* visit(port, port)
    }))

  it.scoped("shows one visitor nothing of another", () =>
    Effect.gen(function*() {
      const port = yield* start()
      const [ada, bob] = [makeBrowser(), makeBrowser()]
      yield* ada.post(port, "/login", { name: "ada" })
      yield* ada.post(port, "/cart", { item: "tea" })
      yield* bob.post(port, "/login", { name: "bob" })
      assert.lengthOf((yield* bob.get(port, "/sessions")).json, 1)
      const [{ id }] = (yield* ada.get(port, "/sessions")).json
      assert.strictEqual((yield* bob.delete(port, `/sessions/${id}`)).status, 404)
      assert.deepStrictEqual((yield* bob.post(port, "/logout-everywhere", {})).json, { ended: 1 })
      assert.strictEqual((yield* ada.get(port, "/cart")).json.name, "ada")
      // at the same browser
      yield* ada.post(port, "/login", { name: "bob" })
      assert.deepStrictEqual((yield* ada.get(port, "/cart")).json, {
        name: "bob",
        cart: [],
        messages: ["Welcome, bob"]
      })
    }))

  it.scoped("takes no form for a visitor's own", () =>
    Effect.gen(function*() {
      const port = yield* start()
      const ada = makeBrowser()
      yield* ada.post(port, "/login", { name: "ada" })
      for (const path of ["/cart", "/login", "/logout", "/logout-everywhere"]) {
        const headers = { cookie: ada.cookie }
        const form = { ...headers, "content-type": "text/plain" }
        assert.strictEqual((yield* request(port, { method: "POST", path, headers: form, body: "{}" })).status, 415)
        assert.strictEqual((yield* request(port, { method: "POST", path, headers })).status, 400)
      }
      const preflight = { origin: "http://localhost:5173", "access-control-request-method": "DELETE" }
      const { headers } = yield* request(port, { method: "OPTIONS", path: "/sessions/1", headers: preflight })
      assert.notProperty(headers, "access-control-allow-credentials")
      assert.strictEqual((yield* ada.get(port, "/cart")).json.name, "ada")
    }))

  it.scoped("has a session store that a test can swap: without it, who needs no session is served", () =>
    Effect.gen(function*() {
      const down = (operation: string) => () =>
        new SessionStore.SessionUnavailable({ operation, cause: new Error("down") })
      const port = yield* start(
        Notes.Default,
        Layer.succeed(SessionStore.SessionStore, {
          load: down("load"),
          create: down("create"),
          save: down("save"),
          rotate: down("rotate"),
          destroy: down("destroy"),
          list: down("list"),
          destroyAll: down("destroyAll"),
          epoch: down("epoch"),
          advanceEpoch: down("advanceEpoch")
        })
      )
      const ada = makeBrowser()
      assert.deepStrictEqual((yield* ada.get(port, "/cart")).json, { cart: [], messages: [] })
      const { cookies, headers, json, status } = yield* ada.post(port, "/cart", { item: "tea" })
      assert.deepStrictEqual([status, headers["retry-after"], cookies], [503, "5", []])
      assert.strictEqual(json.detail, "Sessions cannot be reached at the moment")
      assert.strictEqual((yield* request(port, { path: "/notes" })).status, 200)
    }))

  it("draws its onion", () => {
    assert.strictEqual(
      Stack.describe(stack),
      `
ServerErrors                           ↔ wraps
│ Forwarded                            → request  provides effect-middleware/Forwarded/Client
│ │ RequestId                          → request  provides effect-middleware/RequestId  ← response
│ │ │ AccessLog                        → request  provides effect-middleware/AccessLog/Fields  ← response
│ │ │ │ ServerTiming                   → request  provides effect-middleware/ServerTiming  ← response
│ │ │ │ │ ProblemDetails               ← response
│ │ │ │ │ │ Cors                       → request  ← response
│ │ │ │ │ │ │ TrustedHost              → request
│ │ │ │ │ │ │ │ WebSocket              → request  provides effect-middleware/WebSocket/Handshake
│ │ │ │ │ │ │ │ │ notes/Visitor        → request  provides notes/Visitor  ← response
│ │ │ │ │ │ │ │ │ │ ExceptionHandlers  ↔ wraps
│ │ │ │ │ │ │ │ │ │ │ app`.slice(1)
    )
  })
})

// --- as it is started ------------------------------------------------------------------------------------------------

/** What `npm start` does, with a port of its own; gives the port once it listens. */
const startProcess = (env: Record<string, string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const root = Path.resolve(import.meta.dirname, "..")
      const { scripts } = JSON.parse(Fs.readFileSync(Path.join(root, "package.json"), "utf8"))
      const [, ...args] = String(scripts.start).split(" ")
      const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, PORT: "0", ...env } })
      const end = () => void child.kill("SIGKILL")
      // should this process end without its finalizers
      process.once("exit", end)
      const ended = new Promise((resolve) => child.once("exit", resolve))
      void ended.then(() => process.off("exit", end))
      return { child, ended, end }
    }),
    ({ end, ended }) => Effect.promise(() => (end(), ended))
  ).pipe(
    Effect.flatMap(({ child, ended }) =>
      Effect.async<number>((resume) => {
        let printed = ""
        const read = (chunk: unknown) => {
          printed += chunk
          const [, port] = /Listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(printed) ?? []
          if (port !== undefined) resume(Effect.succeed(Number(port)))
        }
        child.stdout.on("data", read)
        child.stderr.on("data", read)
        void ended.then(() => resume(Effect.dieMessage(`it has ended: ${printed}`)))
      })
    )
  )

describeRedis("the notes example on Redis", () => {
  it.scopedLive("two processes share their visitors", () =>
    Effect.gen(function*() {
      const { url: REDIS_URL } = yield* makeServer()
      const started = startProcess({ REDIS_URL })
      const [here, there] = yield* Effect.all([started, started], { concurrency: 2 })
      yield* visit(here, there)
    }), 180_000)
})
