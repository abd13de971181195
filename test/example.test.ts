import { HttpServer } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Chunk,
  Config,
  Context,
  Effect,
  HashMap,
  Layer,
  Logger,
  Option,
  Queue,
  Redacted,
  TestClock
} from "effect"
import {
  type Authentication,
  DebugPage,
  Entropy,
  IdempotencyStore,
  Keyring,
  PasswordHash,
  RateLimitStore,
  ResponseCacheStore,
  SessionStore,
  Stack
} from "effect-middleware"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Path from "node:path"
import { server, stack } from "../docs/examples/notes/app.js"
import { Note, NoteNotFound, Notes } from "../docs/examples/notes/Notes.js"
import { backend, CurrentUser, Tokens, Users } from "../docs/examples/notes/Users.js"
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

interface Options {
  readonly notes?: Layer.Layer<Notes>
  readonly store?: Layer.Layer<SessionStore.SessionStore>
  readonly users?: typeof backend | Layer.Layer<Authentication.BackendOf<CurrentUser>>
}

const secret = "Vx0b2kqTq6yJmJ3l8pYwHn5sRf9cZdA1uEoGiKtLbXw="

/** Gives the port, and the key of the robot. */
const startWithKey = ({ notes = Notes.Default, store = SessionStore.layerMemory(), users = backend }: Options = {}) => {
  const directory = Layer.merge(Users.Default, Tokens.layer(Config.succeed(Redacted.make(secret)))).pipe(
    // as cheap as can be, since no test is about what it costs
    Layer.provideMerge(PasswordHash.layerScrypt({ N: 2 }))
  )
  return server.pipe(
    Layer.provideMerge(Layer.provideMerge(users, directory)),
    Layer.provide([
      notes,
      store,
      RateLimitStore.layerMemory(),
      ResponseCacheStore.layerMemory(),
      IdempotencyStore.layerMemory(),
      Keyring.layer({ keys: [Redacted.make(secret)] })
    ]),
    Layer.provideMerge(nodeServer),
    Layer.build,
    Effect.orDie,
    Effect.map((context) => {
      const { address } = Context.get(context, HttpServer.HttpServer)
      const { key } = Context.get(context, Users)
      return { port: address._tag === "TcpAddress" ? address.port : 0, key: { "x-api-key": key } }
    })
  )
}

const start = (options?: Options) => Effect.map(startWithKey(options), ({ port }) => port)

// --- sessions --------------------------------------------------------------------------------------------------------

const json = { "content-type": "application/json" }
const form = { "content-type": "application/x-www-form-urlencoded" }
const html = { accept: "text/html" }
const ada = "name=ada&password=correct+horse"
const bob = "name=bob&password=battery+staple"

/** Keeps the cookie that it is given, for all ports, as browsers do. What it sends is JSON, or a form by its text. */
const makeBrowser = (cookie = "") => {
  const browser = {
    cookie,
    ask: (port: number, method: string, path: string, body?: object | string) =>
      Effect.map(
        request(port, {
          method,
          path,
          headers: {
            cookie: browser.cookie,
            ...typeof body === "object" ? json : typeof body === "string" ? form : html
          },
          ...body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }
        }),
        (reply) => {
          for (const set of reply.cookies) browser.cookie = set.includes("Max-Age=0") ? "" : set.split(";")[0]!
          return {
            ...reply,
            json: /json/.test(reply.headers["content-type"] ?? "") ? JSON.parse(reply.body) : undefined
          }
        }
      ),
    get: (port: number, path: string) => browser.ask(port, "GET", path),
    post: (port: number, path: string, body: object | string) => browser.ask(port, "POST", path, body),
    delete: (port: number, path: string) => browser.ask(port, "DELETE", path)
  }
  return browser
}

/** Two browsers at two ports, which may be of one server. */
const visit = (here: number, there: number) =>
  Effect.gen(function*() {
    const [laptop, phone] = [makeBrowser(), makeBrowser()]

    // a cart needs no login
    assert.deepStrictEqual((yield* laptop.get(here, "/cart")).cookies, [])
    const { cookies, json } = yield* laptop.post(here, "/cart", { item: "tea" })
    assert.deepStrictEqual(json, { cart: ["tea"] })
    assert.lengthOf(cookies, 1)
    assert.match(cookies[0]!, /^session=[\w-]{43}; Max-Age=1209600; Path=\/; HttpOnly; SameSite=Lax$/)
    assert.strictEqual((yield* laptop.delete(there, "/sessions/1")).status, 401)

    // it is kept by who logs in, under another identifier; the message is shown once
    const before = makeBrowser(laptop.cookie)
    assert.strictEqual((yield* laptop.post(here, "/login", ada)).headers["location"], "/account")
    assert.notStrictEqual(laptop.cookie, before.cookie)
    assert.deepStrictEqual((yield* laptop.get(there, "/cart")).json, { cart: ["tea"], messages: ["Welcome, ada"] })
    assert.deepStrictEqual((yield* laptop.get(here, "/cart")).json, { cart: ["tea"], messages: [] })

    // the one from before is nobody's, and changes nothing
    assert.deepStrictEqual((yield* before.get(there, "/cart")).json, { cart: ["tea"], messages: [] })
    assert.strictEqual((yield* before.get(there, "/sessions")).status, 303)
    assert.strictEqual((yield* before.post(there, "/cart", { item: "salt" })).status, 409)
    assert.strictEqual((yield* before.post(there, "/logout-everywhere", {})).status, 401)

    // another browser, which the first one ends
    yield* phone.post(there, "/login", ada)
    const sessions: ReadonlyArray<{ id: string; current: boolean }> = (yield* laptop.get(here, "/sessions")).json
    assert.deepStrictEqual(sessions.map(({ current }) => current).sort(), [false, true])
    const { id } = sessions.find(({ current }) => !current)!
    assert.notInclude(phone.cookie, id)
    assert.strictEqual((yield* laptop.delete(there, `/sessions/${id}`)).status, 204)
    assert.strictEqual((yield* laptop.delete(here, `/sessions/${id}`)).status, 404)
    assert.strictEqual((yield* phone.get(here, "/sessions")).status, 303)

    // out, at one
    yield* phone.post(here, "/login", ada)
    yield* phone.post(here, "/logout", "")
    assert.deepStrictEqual([phone.cookie, (yield* laptop.get(there, "/sessions")).json.length], ["", 1])

    // out, everywhere
    yield* phone.post(there, "/login", ada)
    const [old, others] = [makeBrowser(laptop.cookie), makeBrowser(phone.cookie)]
    assert.deepStrictEqual((yield* laptop.post(here, "/logout-everywhere", {})).json, { ended: 2 })
    assert.strictEqual(laptop.cookie, "")
    for (const { get } of [old, others]) {
      assert.deepStrictEqual((yield* get(there, "/cart")).json, { cart: [], messages: [] })
      assert.strictEqual((yield* get(here, "/sessions")).status, 303)
    }
  })

/** Until the server waits for the clock. */
const asleep: Effect.Effect<void> = Effect.flatMap(
  TestClock.sleeps(),
  (sleeps) => Chunk.isEmpty(sleeps) ? Effect.zipRight(macrotask, asleep) : Effect.void
)
const macrotask = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

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

  it.scoped("makes one note of a key, however often it is sent", () =>
    Effect.gen(function*() {
      const port = yield* start()
      const headers = { ...json, "idempotency-key": "\"a\"" }
      const post = (text: string) =>
        request(port, { method: "POST", path: "/notes", headers, body: JSON.stringify({ text }) })
      const first = yield* post("milk")
      const again = yield* post("milk")
      for (const { body, headers, status } of [first, again]) {
        assert.deepStrictEqual([status, headers["location"], body], [201, "/notes/1", `{"id":1,"text":"milk"}`])
      }
      assert.strictEqual(again.headers["idempotency-replayed"], "true")
      assert.notStrictEqual(again.headers["x-request-id"], first.headers["x-request-id"])
      assert.strictEqual((yield* post("tea")).status, 422)
      assert.strictEqual((yield* request(port, { path: "/notes" })).body, `[{"id":1,"text":"milk"}]`)
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
      const port = yield* start({ notes: threeNotes })
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
      const port = yield* start({ notes: threeNotes })
      const client = yield* Effect.orDieWith(connect(port, { path: "/live" }), (closed) =>
        new Error(JSON.stringify(closed)))
      client.send("1")
      assert.strictEqual(yield* answered(client.next), "{\"id\":1,\"text\":\"note 1\"}")
      client.send("9")
      assert.deepStrictEqual(yield* answered(client.closed), { code: 4004, reason: "There is no such note" })
    }))

  it.scopedLive("sends a large list made once, compressed, and not at all to who has it", () =>
    Effect.gen(function*() {
      const port = yield* start()
      const ask = (headers: Record<string, string>) => request(port, { path: "/catalogue", headers })
      const [first, ...others] = yield* Effect.all(
        ["identity", "gzip", "br"].map((coding) => ask({ "accept-encoding": coding, cookie: "a=visitor's" })),
        { concurrency: 1 }
      )
      assert.strictEqual(JSON.parse(first!.body).length, 2000)
      assert.match(first!.headers["cache-status"] ?? "", /fwd=uri-miss;stored/)
      for (const [i, coding] of ["gzip", "br"].entries()) {
        const { body, headers } = others[i]!
        assert.strictEqual(headers["content-encoding"], coding)
        assert.match(headers["cache-status"] ?? "", /;hit;/)
        assert.strictEqual(body, first!.body)
        assert.isBelow(Number(headers["content-length"]), first!.body.length / 8)
        const again = yield* ask({ "accept-encoding": coding, "if-none-match": headers.etag! })
        assert.deepStrictEqual([again.status, again.body, again.headers.etag], [304, "", headers.etag])
      }
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
      const [one, other] = [makeBrowser(), makeBrowser()]
      yield* one.post(port, "/login", ada)
      yield* one.post(port, "/cart", { item: "tea" })
      yield* other.post(port, "/login", bob)
      assert.lengthOf((yield* other.get(port, "/sessions")).json, 1)
      const [{ id }] = (yield* one.get(port, "/sessions")).json
      assert.strictEqual((yield* other.delete(port, `/sessions/${id}`)).status, 404)
      assert.deepStrictEqual((yield* other.post(port, "/logout-everywhere", {})).json, { ended: 1 })
      assert.deepStrictEqual((yield* one.get(port, "/cart")).json.cart, ["tea"])
      // at the same browser
      yield* one.post(port, "/login", bob)
      assert.deepStrictEqual((yield* one.get(port, "/cart")).json, { cart: [], messages: ["Welcome, bob"] })
    }))

  it.scoped("takes no form of another site or port for a visitor's own", () =>
    Effect.gen(function*() {
      const port = yield* start()
      const browser = makeBrowser()
      yield* browser.post(port, "/login", ada)
      const { cookie } = browser
      const post = (path: string, headers: Record<string, string>, body = "") =>
        Effect.map(
          request(port, { method: "POST", path, headers: { cookie, ...headers }, body }),
          ({ status }) => status
        )
      for (const path of ["/cart", "/logout-everywhere"]) {
        assert.strictEqual(yield* post(path, { "content-type": "text/plain" }, "{}"), 415)
        assert.strictEqual(yield* post(path, {}), 400)
      }
      for (const [path, body] of [["/login", bob], ["/logout", ""]] as const) {
        assert.strictEqual(yield* post(path, { "content-type": "text/plain" }, body), 415)
        for (const site of ["cross-site", "same-site"]) {
          assert.strictEqual(yield* post(path, { ...form, "sec-fetch-site": site }, body), 403)
        }
      }
      const preflight = { origin: "http://localhost:5173", "access-control-request-method": "DELETE" }
      const { headers } = yield* request(port, { method: "OPTIONS", path: "/sessions/1", headers: preflight })
      assert.notProperty(headers, "access-control-allow-credentials")
      assert.include((yield* browser.get(port, "/account")).body, "<h1>ada</h1>")
      assert.strictEqual(yield* post("/logout", { ...form, "sec-fetch-site": "same-origin" }), 303)
    }))

  it.scoped("sends a browser to the form, and with the right password back to its page", () =>
    Effect.gen(function*() {
      const port = yield* start()
      const browser = makeBrowser()
      const { headers: { location = "" }, status } = yield* browser.get(port, "/account?from=shop")
      assert.strictEqual(status, 303)
      assert.match(location, /^\/login\?return_to=/)
      const shown = yield* browser.get(port, location)
      assert.deepStrictEqual([shown.status, shown.cookies], [200, []])
      assert.include(shown.body, "<form method=\"post\">")

      // nobody learns who there is
      const wrong = yield* browser.post(port, location, "name=ada&password=wrong")
      assert.deepStrictEqual(
        [wrong.status, wrong.cookies, wrong.headers["www-authenticate"], wrong.headers["cache-control"]],
        [401, [], "Cookie realm=\"app\"", "no-store, private"]
      )
      const said = ({ body }: { readonly body: string }) => body.replace(/nonce="[^"]+"/, "nonce")
      assert.strictEqual(said(wrong), said(shown).replace("></p>", ">The name or the password is wrong</p>"))
      const unknown = yield* browser.post(port, location, "name=eve&password=wrong")
      assert.deepStrictEqual([unknown.status, said(unknown)], [401, said(wrong)])
      assert.strictEqual((yield* browser.get(port, "/account")).status, 303)

      const right = yield* browser.post(port, location, ada)
      assert.deepStrictEqual([right.status, right.headers["location"]], [303, "/account?from=shop"])
      yield* browser.post(port, "/cart", { item: "<b>tea</b>" })
      const { body, headers } = yield* browser.get(port, "/account?from=shop")
      for (const text of ["<h1>ada</h1>", "Welcome, ada", "&#60;b&#62;tea&#60;/b&#62;"]) assert.include(body, text)
      assert.strictEqual(headers["cache-control"], "no-store, private")
      assert.include(headers["content-security-policy"], "frame-ancestors 'none'")

      const out = yield* browser.post(port, "/logout", "")
      assert.deepStrictEqual([out.headers["location"], browser.cookie], ["/login", ""])
      assert.strictEqual((yield* browser.get(port, "/account")).status, 303)
      // a script is told
      assert.strictEqual((yield* request(port, { path: "/account" })).status, 401)
    }))

  it.scoped("goes back to no address that it has not signed", () =>
    Effect.gen(function*() {
      const port = yield* start()
      const browser = makeBrowser()
      const { headers: { location = "" } } = yield* browser.get(port, "/account")
      const forged = location.replace(Buffer.from("/account").toString("base64url"), "Ly9ldmlsLnRlc3Q")
      assert.notStrictEqual(forged, location)
      for (const path of ["/login?return_to=//evil.test", forged]) {
        assert.strictEqual((yield* browser.post(port, path, ada)).headers["location"], "/account")
      }
    }))

  it.scoped("has a route for administrators", () =>
    Effect.gen(function*() {
      const { key, port } = yield* startWithKey()
      const [one, other] = [makeBrowser(), makeBrowser()]
      yield* one.post(port, "/login", ada)
      yield* other.post(port, "/login", bob)
      assert.deepStrictEqual((yield* one.get(port, "/users")).json, [
        { name: "ada", roles: ["admin"], sessions: 1 },
        { name: "bob", roles: [], sessions: 1 }
      ])
      assert.strictEqual((yield* other.get(port, "/users")).status, 403)
      assert.strictEqual((yield* request(port, { path: "/users", headers: key })).status, 403)
      assert.strictEqual((yield* request(port, { path: "/users" })).status, 401)
      assert.match((yield* makeBrowser().get(port, "/users")).headers["location"] ?? "", /^\/login\?return_to=/)
    }))

  it.scoped("gives a machine a token of five minutes for its key, with scopes of the key's", () =>
    Effect.gen(function*() {
      const { key, port } = yield* startWithKey({ notes: threeNotes })
      const exported = (headers: Record<string, string>) => request(port, { path: "/export", headers })
      const ask = (headers: Record<string, string>, body: string) =>
        request(port, { method: "POST", path: "/token", headers: { ...form, ...headers }, body })
      const bearer = (reply: { readonly body: string }) => ({
        authorization: `Bearer ${JSON.parse(reply.body).access_token}`
      })

      assert.strictEqual((yield* exported(key)).body, "1\tnote 1\n2\tnote 2\n3\tnote 3\n")
      const given = yield* ask(key, "scope=notes:export+notes:everything")
      const { access_token, ...rest } = JSON.parse(given.body)
      assert.deepStrictEqual(rest, { token_type: "Bearer", expires_in: 300, scope: "notes:export" })
      assert.strictEqual(given.headers["cache-control"], "no-store, private")
      assert.strictEqual((yield* exported(bearer(given))).status, 200)
      assert.strictEqual(JSON.parse((yield* ask(key, "")).body).scope, "notes:export notes:import")

      // of another scope
      const narrow = bearer(yield* ask(key, "scope=notes:import"))
      const refused = yield* exported(narrow)
      assert.deepStrictEqual(
        [refused.status, refused.headers["www-authenticate"]],
        [403, "Bearer realm=\"app\", error=\"insufficient_scope\", scope=\"notes:export\""]
      )
      // a token gives no token, and a person has no key
      assert.strictEqual((yield* ask(bearer(given), "")).status, 403)
      const browser = makeBrowser()
      yield* browser.post(port, "/login", ada)
      assert.strictEqual((yield* browser.post(port, "/token", "")).status, 403)
      assert.strictEqual((yield* browser.get(port, "/export")).status, 403)

      // none, a wrong one beside a good one, one of another server
      assert.strictEqual(
        (yield* exported({})).headers["www-authenticate"],
        "Bearer realm=\"app\", ApiKey realm=\"app\", in=\"header\", name=\"x-api-key\", Cookie realm=\"app\""
      )
      const signature = narrow.authorization.split(".")[2]
      const tampered = { authorization: `Bearer ${access_token.replace(/[^.]+$/, signature)}` }
      assert.strictEqual((yield* exported({ ...key, ...tampered })).status, 401)
      assert.strictEqual((yield* exported({ "x-api-key": `${key["x-api-key"]}x` })).status, 401)
      const { port: elsewhere } = yield* startWithKey()
      assert.strictEqual((yield* request(elsewhere, { path: "/export", headers: key })).status, 401)

      yield* TestClock.adjust("6 minutes")
      assert.strictEqual((yield* exported(bearer(given))).status, 401)
      assert.strictEqual((yield* exported(key)).status, 200)
    }))

  it.scoped("has users that a test swaps by one line", () =>
    Effect.gen(function*() {
      const status = (users: NonNullable<Options["users"]>) =>
        Effect.flatMap(start({ users }), (port) => request(port, { path: "/users" })).pipe(
          Effect.map(({ status }) => status)
        )
      assert.strictEqual(yield* status(CurrentUser.layerTest({ name: "ada", plan: "free" }, { roles: ["admin"] })), 200)
      assert.strictEqual(yield* status(CurrentUser.layerTest({ name: "ada", plan: "free" })), 403)
      assert.strictEqual(yield* status(CurrentUser.layerAnonymous), 401)
      assert.strictEqual(yield* status(CurrentUser.layerUnavailable), 503)
    }))

  it.scoped("has a session store that a test can swap: without it, who needs no session is served", () =>
    Effect.gen(function*() {
      const down = (operation: string) => () =>
        new SessionStore.SessionUnavailable({ operation, cause: new Error("down") })
      const store = Layer.succeed(SessionStore.SessionStore, {
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
      const { key, port } = yield* startWithKey({ store })
      const browser = makeBrowser()
      assert.deepStrictEqual((yield* browser.get(port, "/cart")).json, { cart: [], messages: [] })
      const { cookies, headers, json, status } = yield* browser.post(port, "/cart", { item: "tea" })
      assert.deepStrictEqual([status, headers["retry-after"], cookies], [503, "5", []])
      assert.strictEqual(json.detail, "Sessions cannot be reached at the moment")
      assert.strictEqual((yield* request(port, { path: "/notes" })).status, 200)
      // who has a session is not taken for nobody; who has a key needs none
      const visitor = makeBrowser("session=AjB8brhTS_oH95yRXXOnlZisEcnjphEzIKUEp58e8OE")
      assert.strictEqual((yield* visitor.get(port, "/account")).status, 503)
      assert.strictEqual((yield* request(port, { path: "/export", headers: key })).status, 200)
    }))

  it.scoped("limits logins by account and by address, and lets who was right in", () =>
    Effect.gen(function*() {
      const port = yield* start()
      const attempt = (body: string) =>
        Effect.map(
          request(port, { method: "POST", path: "/login", headers: form, body }),
          ({ body, headers, status }) => [status, headers["retry-after"], /role="alert">([^<]*)/.exec(body)?.[1]]
        )
      const wrong = [401, undefined, "The name or the password is wrong"]
      const tooOften = (
        seconds: number
      ) => [429, `${seconds}`, `There were too many failures: try again in ${seconds} s`]
      for (let i = 0; i < 5; i++) assert.deepStrictEqual(yield* attempt("name=bob&password=guess"), wrong)
      assert.deepStrictEqual(yield* attempt(bob), tooOften(1))
      // of an account that is not there nobody learns that it is not
      for (let i = 0; i < 5; i++) assert.deepStrictEqual(yield* attempt("name=eve&password=guess"), wrong)
      assert.deepStrictEqual(yield* attempt("name=eve&password=guess"), tooOften(1))
      assert.strictEqual((yield* attempt(ada))[0], 303)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* attempt("name=bob&password=guess"), wrong)
      assert.deepStrictEqual(yield* attempt(bob), tooOften(2))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* attempt(bob))[0], 303)
      for (let i = 0; i < 89; i++) yield* attempt(`name=user-${i}&password=guess`)
      assert.deepStrictEqual(yield* attempt("name=one-more&password=guess"), tooOften(3597))
    }))

  it.scoped("limits calls by the plan of whoever calls, and an address before anything is looked up", () =>
    Effect.gen(function*() {
      const { key, port } = yield* startWithKey()
      const exported = request(port, { path: "/export", headers: key })
      const replies = yield* Effect.replicateEffect(exported, 21)
      assert.deepStrictEqual(replies.map(({ status }) => status), [...Array(20).fill(200), 429])
      assert.strictEqual(
        replies[20]?.headers["ratelimit"],
        "\"burst\";r=0;t=2, \"day\";r=9980;t=86400, \"1s\";r=79;t=1"
      )
      const notes = yield* Effect.replicateEffect(request(port, { path: "/notes" }), 80)
      assert.deepStrictEqual(notes.map(({ status }) => status), [...Array(79).fill(200), 429])
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* exported).status, 200)
    }))

  it("draws its onion", () => {
    assert.strictEqual(
      Stack.describe(stack),
      `
ServerErrors                                   ↔ wraps
│ Forwarded                                    → request  provides effect-middleware/Forwarded/Client
│ │ RequestId                                  → request  provides effect-middleware/RequestId  ← response
│ │ │ AccessLog                                → request  provides effect-middleware/AccessLog/Fields  ← response
│ │ │ │ ServerTiming                           → request  provides effect-middleware/ServerTiming  ← response
│ │ │ │ │ ProblemDetails                       ← response
│ │ │ │ │ │ Cors                               → request  ← response
│ │ │ │ │ │ │ SecurityHeaders                  → request  provides effect-middleware/SecurityHeaders/Nonce  ← response
│ │ │ │ │ │ │ │ TrustedHost                    → request
│ │ │ │ │ │ │ │ │ WebSocket                    → request  provides effect-middleware/WebSocket/Handshake
│ │ │ │ │ │ │ │ │ │ Csrf                       → request
│ │ │ │ │ │ │ │ │ │ │ RateLimit                → request  ← response
│ │ │ │ │ │ │ │ │ │ │ │ Compression            ← response
│ │ │ │ │ │ │ │ │ │ │ │ │ notes/Visitor        → request  provides notes/Visitor  ← response
│ │ │ │ │ │ │ │ │ │ │ │ │ │ ExceptionHandlers  ↔ wraps
│ │ │ │ │ │ │ │ │ │ │ │ │ │ │ app`.slice(1)
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
      // and what they have counted
      const guess = (port: number) =>
        Effect.map(
          request(port, { method: "POST", path: "/login", headers: form, body: "name=bob&password=guess" }),
          ({ status }) => status
        )
      const statuses = yield* Effect.forEach([here, there, here, there, here, there, here, there, here], guess)
      // each by itself would take five; where a guess takes seconds, one more has become due meanwhile
      const taken = statuses.indexOf(429)
      assert.include([5, 6, 7], taken)
      assert.deepStrictEqual(new Set(statuses.slice(0, taken)), new Set([401]))
    }), 180_000)
})
