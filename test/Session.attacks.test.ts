/** Attacks on sessions: those that others have had, and what a client may think of beside. */
import { type HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, FastCheck, Schema, TestClock } from "effect"
import { type Middleware, Session, SessionStore, Stack } from "effect-middleware"
import {
  add,
  bothKeyring,
  browser,
  Counter,
  counting,
  handler,
  inc,
  keyring,
  kinds,
  makeGate,
  middlewareOf,
  oldKeyring,
  piped,
  read,
  serve
} from "./utils/counter.js"
import { witness } from "./utils/failures.js"
import { type ErasedApp } from "./utils/laws.js"
import { listen, request } from "./utils/TestApp.js"
import { connect } from "./utils/webSocket.js"

const timeout = 30_000
const memory = Effect.provide(SessionStore.layerMemory())
const name = "__Host-session"
type Handle = Parameters<Parameters<typeof handler>[0]>[0]
type Write = (session: Handle) => Effect.Effect<unknown, unknown, SessionStore.SessionStore | Counter>
const as = handler as (f: Write) => ErasedApp

// ---------------------------------------------------------------------------------------------------------------------
// what others have had
// ---------------------------------------------------------------------------------------------------------------------

describe("advisories", () => {
  const plain = JSON.stringify({ i: "a".repeat(43), c: 0, t: 0, p: "admin", v: 1, d: { n: 99, note: "" } })
  const base64 = (text: string) => Buffer.from(text).toString("base64url")

  it.scoped.each(["signed", "encrypted"] as const)(
    "CVE-2026-39324: no other decoder is fallen back to (%s)",
    (kind) =>
      Effect.gen(function*() {
        const send = yield* serve(middlewareOf(kind))
        const other = browser(yield* serve(middlewareOf(kind === "signed" ? "encrypted" : "signed")))
        yield* other("/inc")
        const texts = [
          plain,
          encodeURIComponent(plain),
          base64(plain),
          `s1.${base64(plain)}`,
          `s1..${base64(plain)}.`,
          `e1.${base64(plain)}`,
          other.jar.get(name)!
        ]
        for (const text of texts) {
          assert.deepStrictEqual(yield* read(browser(send, [[name, text]])("/all")), [0, true, null], text)
        }
      }),
    timeout
  )

  it.scoped("CVE-2025-46336: a request under way does not bring back a session that has ended", () => {
    const { store, taken } = counting()
    return Effect.gen(function*() {
      const gate = yield* makeGate
      const own = { "/slow": as(({ get, update }) => Effect.all([get, gate.pass, update(inc)])) }
      const visit = browser(yield* serve(middlewareOf("stored", { saveOnError: true }), own))
      yield* visit("/inc")
      const before = visit.copy()
      const slowly = yield* Effect.fork(visit.copy()("/slow"))
      yield* gate.entered
      yield* visit("/destroy")
      yield* gate.open
      const reply = yield* slowly
      assert.deepStrictEqual([reply.status, reply.cookies.length], [409, 0])
      assert.deepStrictEqual(yield* read(before("/all")), [0, true, null])
      assert.notInclude(taken().slice(3), "create")
    }).pipe(Effect.provide(store))
  })

  it.scoped.each(kinds)(
    "CVE-2024-35220, CVE-2024-31999: a cookie ends by the server's time, also one replayed (%s)",
    (kind) =>
      Effect.gen(function*() {
        const visit = browser(yield* serve(middlewareOf(kind, { maxAge: "1 minute", absolute: "2 minutes" })))
        yield* visit("/login")
        const stolen = visit.copy()
        yield* visit("/destroy")
        assert.deepStrictEqual(
          yield* read(stolen.copy()("/all")),
          kind === "stored" ? [0, true, null] : [0, false, "ada"]
        )
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* read(stolen("/all")), [0, true, null])
      }).pipe(memory),
    timeout
  )

  it.scoped(
    "CVE-2023-29019, CVE-2024-38513, CVE-2022-25896: a session that was planted is not the one that logs in",
    () =>
      Effect.gen(function*() {
        const send = yield* serve(middlewareOf("stored"))
        // one that the attacker has made up is never taken over
        const made = "A".repeat(43)
        const victim = browser(send, [[name, made]])
        yield* victim("/login")
        assert.notStrictEqual(victim.jar.get(name), made)
        assert.deepStrictEqual(yield* read(browser(send, [[name, made]])("/all")), [0, true, null])
        // one that is good is another after the login, and what it reads for a moment has no principal
        const attacker = browser(send)
        yield* attacker("/inc")
        const next = attacker.copy()
        yield* next("/login")
        assert.notStrictEqual(next.jar.get(name), attacker.jar.get(name))
        assert.deepStrictEqual(yield* read(attacker("/all")), [1, false, null])
        assert.strictEqual((yield* attacker("/inc")).status, 409)
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* read(attacker("/all")), [0, true, null])
        assert.deepStrictEqual(yield* read(next("/all")), [1, false, "ada"])
      }).pipe(memory),
    timeout
  )

  it.scoped("fastify/session #348: a rotation leaves no old record behind", () =>
    Effect.gen(function*() {
      const visit = browser(yield* serve(middlewareOf("stored", { grace: 0 })))
      yield* visit("/login")
      const [before, id] = [visit.copy(), String(yield* read(visit("/id")))]
      yield* visit("/rotate")
      const store = yield* SessionStore.SessionStore
      assert.isUndefined(yield* store.load(id, { now: 0 }))
      assert.lengthOf(yield* Counter.list("ada"), 1)
      assert.deepStrictEqual(yield* read(before("/all")), [0, true, null])
    }).pipe(memory), timeout)

  it.scoped("CVE-2015-5963: a thousand requests that write nothing leave nothing in the store", () => {
    const { store, taken } = counting()
    return Effect.gen(function*() {
      const send = yield* serve(middlewareOf("stored"))
      for (let i = 0; i < 250; i++) {
        for (const path of ["/destroy", "/get", "/same", "/flashes"]) {
          assert.lengthOf((yield* send({ path })).cookies, 0)
        }
      }
      assert.deepStrictEqual(taken(), [])
    }).pipe(Effect.provide(store))
  }, timeout)

  it.scoped.each(["signed", "encrypted"] as const)(
    "CVE-2026-40372: any flipped bit makes it nothing (%s)",
    (kind) =>
      Effect.gen(function*() {
        const seen = witness()
        const visit = browser(yield* Effect.provide(serve(middlewareOf(kind)), seen.layer))
        yield* visit("/inc")
        const value = visit.jar.get(name)!
        const flip = (at: number) => {
          const char = value.charCodeAt(at) ^ (1 << (at % 5))
          return value.slice(0, at) + String.fromCharCode(char) + value.slice(at + 1)
        }
        const texts = Array.from(value, (_, at) => flip(at)).filter((text) => /^[!#-+\--:<-~]*$/.test(text))
        assert.isAbove(texts.length, value.length / 2)
        const tagless = [value.slice(0, -22) + "A".repeat(22), value.slice(0, -1), `${value}A`, `${value}=`]
        for (const text of [...texts, ...tagless]) {
          visit.jar.set(name, text)
          const reply = yield* visit("/all")
          assert.deepStrictEqual(
            [reply.status, JSON.parse(reply.body), reply.cookies],
            [200, [0, true, null], []],
            text
          )
        }
        assert.deepStrictEqual(
          new Set(seen.logged),
          new Set(["INFO The cookie of a session is not one of ours; it is a new one"])
        )
        visit.jar.set(name, value)
        assert.strictEqual(yield* read(visit("/get")), 1)
      }),
    timeout
  )

  it.scoped(
    "Starlette #2019, express-session #1064: a slow response does not overwrite what came after it began",
    () =>
      Effect.gen(function*() {
        const gate = yield* makeGate
        const own = {
          "/slow": as(({ get, update }) => Effect.all([get, gate.pass, update(add("slow"))])),
          "/read": as(({ get }) => Effect.all([get, gate.pass])),
          "/fast": as(({ update }) => update(inc))
        }
        const visit = browser(yield* serve(middlewareOf("stored"), own))
        yield* visit("/inc")
        const slowly = yield* Effect.fork(Effect.all([visit("/slow"), visit("/read")], { concurrency: 2 }))
        yield* gate.entered
        yield* visit("/fast")
        yield* gate.open
        assert.deepStrictEqual((yield* slowly).map(({ status }) => status), [200, 200])
        assert.deepStrictEqual([yield* read(visit("/get")), yield* read(visit("/note"))], [2, "slow"])
      }).pipe(memory),
    timeout
  )

  it.each<[option: string, cookie: Session.CookieOptions]>([
    ["path", { prefix: "none", path: "/; Domain=evil.test" }],
    ["path", { prefix: "none", path: "/\r\nset-cookie: a=b" }],
    ["domain", { prefix: "none", domain: "example.com; Secure" }],
    ["name", { name: "a=b" }],
    ["name", { name: "a; b" }],
    ["sameSite", { sameSite: "lax; Domain=evil.test" as "lax" }],
    ["prefix", { prefix: "a; " as "none" }]
  ])("CVE-2024-47764: no %s is another attribute", (option, cookie) => {
    for (const kind of kinds) assert.throws(() => middlewareOf(kind, { cookie }), `Session: ${option} is `)
  })

  it.scoped("Hono cc067c85: a name that begins with a no-break space is another", () =>
    Effect.gen(function*() {
      const send = yield* serve(middlewareOf("stored"))
      const visit = browser(send)
      yield* visit("/inc")
      const value = visit.jar.get(name)!
      const all = (cookie: string) => read(browser(send)("/all", { headers: { cookie } }))
      for (const odd of [`\u00a0${name}`, `${name}\u00a0`, name.toLowerCase(), `x${name}`, `${name}x`, `"${name}"`]) {
        assert.deepStrictEqual(yield* all(`${odd}=${value}`), [0, true, null], odd)
      }
      assert.deepStrictEqual(yield* all(`a=b; \t${name}=${value} ; c=d`), [1, false, null])
    }).pipe(memory), timeout)
})

// ---------------------------------------------------------------------------------------------------------------------
// cookies
// ---------------------------------------------------------------------------------------------------------------------

describe("in a cookie", () => {
  const set = (note: string) => as((session) => session.update((value) => ({ ...value, note })))
  const values = (cookie: string) =>
    cookie.split(".").map((part) => Buffer.from(part, "base64url").toString()).join(" ")

  it.scoped("signed is what everybody can read, encrypted is what nobody can", () =>
    Effect.gen(function*() {
      for (const kind of ["signed", "encrypted"] as const) {
        const visit = browser(yield* serve(middlewareOf(kind), { "/set": set("plainly") }))
        yield* visit("/set")
        assert.strictEqual(values(visit.jar.get(name)!).includes("plainly"), kind === "signed")
        assert.match(visit.jar.get(name)!, /^[\w.-]+$/)
      }
    }), timeout)

  it.scoped.each(["signed", "encrypted"] as const)(
    "%s by an old key is sealed anew when it is read",
    (kind) =>
      Effect.gen(function*() {
        const before = browser(yield* serve(middlewareOf(kind, { keyring: oldKeyring })))
        yield* before("/inc")
        const visit = browser(yield* serve(middlewareOf(kind, { keyring: bothKeyring })), before.jar)
        assert.lengthOf((yield* visit("/none")).cookies, 0)
        const reply = yield* visit("/all")
        assert.deepStrictEqual([JSON.parse(reply.body), reply.cookies.length], [[1, false, null], 1])
        assert.lengthOf((yield* visit("/get")).cookies, 0)
        const after = yield* serve(middlewareOf(kind))
        assert.deepStrictEqual(yield* read(browser(after, visit.jar)("/all")), [1, false, null])
        assert.deepStrictEqual(yield* read(browser(after, before.jar)("/all")), [0, true, null])
      }),
    timeout
  )

  it.scoped.each(["signed", "encrypted"] as const)(
    "%s is bound to its tag and its cookie's name",
    (kind) =>
      Effect.gen(function*() {
        class Other extends Session.Tag("test/Other")<Other>()(Schema.Struct({ n: Schema.Number }), {
          initial: () => ({ n: 0 })
        }) {}
        const visit = browser(yield* serve(middlewareOf(kind)))
        yield* visit("/inc")
        const value = visit.jar.get(name)!
        const renamed = yield* serve(middlewareOf(kind, { cookie: { name: "renamed" } }))
        assert.deepStrictEqual(yield* read(browser(renamed, [["__Host-renamed", value]])("/all")), [0, true, null])
        const shown = Effect.flatMap(Other, ({ isNew }) => Effect.map(isNew, HttpServerResponse.unsafeJson))
        const other = yield* serve(Other.middleware({ kind, keyring }), { "/shown": shown })
        assert.isTrue(yield* read(browser(other, visit.jar)("/shown")))
        // nor is what a keyring has signed for something else
        const purpose = keyring.purpose("other")
        for (const text of [purpose.sign("{}", name), keyring.purpose("session/test/Counter").sign("{}", name)]) {
          assert.deepStrictEqual(yield* read(browser(yield* serve(middlewareOf(kind)), [[name, text]])("/all")), [
            0,
            true,
            null
          ])
        }
      }),
    timeout
  )

  it.scoped.each([false, true])(
    "too large is said when it is written, and nothing is lost (chunked: %s)",
    (chunked) =>
      Effect.gen(function*() {
        const huge = chunked ? 15_000 : 5_000
        const large = ["x".repeat(huge), "漢".repeat(chunked ? 7_500 : 1_500), "x".repeat(chunked ? 9_200 : 3_900)]
        const own = {
          "/try": as((session) =>
            Effect.forEach(
              large,
              (note) => Effect.zipRight(session.update(add("a")), Effect.flip(session.set({ n: 9, note })))
            )
          ),
          "/set": as((session) => session.set({ n: 9, note: large[0]! })),
          "/flash": as((session) => session.flash(large[0]!))
        }
        for (const kind of ["signed", "encrypted"] as const) {
          const visit = browser(yield* serve(middlewareOf(kind, { chunked }), own))
          yield* visit("/inc")
          const errors = (yield* read(visit("/try"))) as ReadonlyArray<Session.SessionTooLarge>
          for (const { _tag, limit, size } of errors) {
            assert.deepStrictEqual([_tag, limit], ["SessionTooLarge", chunked ? 3 * 4096 : 4096])
            assert.isAbove(size, limit)
            assert.isBelow(size, 3 * huge)
          }
          assert.deepStrictEqual([yield* read(visit("/get")), yield* read(visit("/note"))], [1, "aaa"])
          assert.strictEqual((yield* visit("/set")).status, 500)
          assert.strictEqual((yield* visit("/flash")).status, 500)
          assert.deepStrictEqual([yield* read(visit("/get")), yield* read(visit("/note"))], [1, "aaa"])
        }
      }),
    timeout
  )

  it.scoped("up to 4096 bytes are one cookie, name, value and attributes together", () =>
    Effect.gen(function*() {
      for (const kind of ["signed", "encrypted"] as const) {
        const sizes: Array<number> = []
        for (let length = 2700; length < 3000; length += 1) {
          const visit = browser(yield* serve(middlewareOf(kind), { "/set": set("x".repeat(length)) }))
          const reply = yield* visit("/set")
          if (reply.status !== 200) break
          sizes.push(reply.cookies[0]!.length)
          if (sizes.at(-1)! < 4000) length += 20
        }
        const most = Math.max(...sizes)
        assert.isAtMost(most, 4096)
        // with room for the longest Max-Age and an Expires
        assert.isAbove(most, 4096 - 60)
      }
    }), timeout)

  it.scoped("chunked is as many as it takes, and those that are left over go", () =>
    Effect.gen(function*() {
      const own = { "/large": set("x".repeat(8000)), "/small": set("x") }
      const visit = browser(yield* serve(middlewareOf("encrypted", { chunked: true }), own))
      yield* visit("/small")
      assert.deepStrictEqual([...visit.jar.keys()], [name])
      yield* visit("/large")
      assert.deepStrictEqual([...visit.jar.keys()], [0, 1, 2].map((n) => `${name}.${n}`))
      assert.lengthOf(String(yield* read(visit("/note"))), 8000)
      const part = visit.copy()
      part.jar.delete(`${name}.1`)
      assert.strictEqual(yield* read(part("/note")), "")
      yield* visit("/small")
      assert.deepStrictEqual([...visit.jar.keys()], [name])
      yield* visit("/large")
      yield* visit("/destroy")
      assert.strictEqual(visit.jar.size, 0)
    }), timeout)
})

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

describe("options that are refused at construction", () => {
  it.each<[options: unknown, message: string]>([
    [{ kind: "cookie" }, `kind of test/Counter: write "signed", "encrypted" or "stored"`],
    [{}, `kind of test/Counter: write "signed", "encrypted" or "stored"`],
    [{ kind: "stored", onUnavailable: "ignore" }, `onUnavailable of test/Counter: write "refuse" or "allow"`],
    [{ kind: "stored", chunked: true }, "chunked of test/Counter: leave it out, a store has room enough"],
    [{ kind: "stored", keyring }, "keyring of test/Counter: leave it out, its cookie has nothing to sign"],
    [{ kind: "signed", keyring, grace: 1 }, "grace of test/Counter: leave it out, nothing can end what a cookie holds"],
    [{ kind: "stored", maxAge: "999 millis" }, "maxAge of test/Counter: write a duration from 1000 ms to 400 days"],
    [{ kind: "stored", maxAge: "401 days" }, "maxAge of test/Counter: write a duration from 1000 ms to 400 days"],
    [{ kind: "stored", idle: 0 }, "idle of test/Counter: write a duration from 1000 ms to 400 days"],
    [{ kind: "stored", idle: Infinity }, "idle of test/Counter: write a duration from 1000 ms to 400 days"],
    [{ kind: "stored", absolute: "2 years" }, "absolute of test/Counter: write a duration"],
    [{ kind: "stored", absolute: "401 days" }, "absolute of test/Counter: write a duration from 1000 ms to 400 days"],
    [{ kind: "stored", grace: "401 days" }, "grace of test/Counter: write a duration from 0 ms to 400 days"],
    [{ kind: "stored", idle: "2 days", absolute: "1 day" }, "idle of test/Counter: write no more than absolute"],
    [{ kind: "stored", cookie: { domain: "example.com" } }, `domain is "example.com": leave it out`],
    [{ kind: "stored", cookie: { path: "/app" } }, `path is "/app": leave it out`],
    [{ kind: "stored", cookie: { name: "__Host-session" } }, `name is "__Host-session": leave out the prefix`],
    [{ kind: "stored", cookie: { partitioned: true } }, `partitioned: write sameSite: "none" beside it`]
  ])("%o", (options, message) => {
    assert.throws(() => Counter.middleware(options as { kind: "stored" }), `Session: ${message}`)
  })

  it.each<[options: Session.Options]>([
    [{ kind: "stored", maxAge: "1 second", grace: 0 }],
    [{ kind: "stored", maxAge: "400 days", absolute: "400 days", grace: "400 days" }],
    [{ kind: "stored", idle: "1 day", absolute: "1 day" }],
    // the default of maxAge is no mistake of the program
    [{ kind: "stored", absolute: "1 day" }],
    [{ kind: "stored", maxAge: "session", idle: "100 days" }]
  ])("but not %o", (options) => void Counter.middleware(options))

  it("and of a tag: a version, what a new one holds", () => {
    const tag = (version: number) => Session.Tag("test/A")()(Schema.Struct({}), { version })
    for (const version of [0, -1, 1.5, Number.NaN]) {
      assert.throws(() => tag(version), `Session: version of test/A is ${version}: count from 1`)
    }
    const says = "Session: what a new test/A holds does not come back from JSON: give its schema a form that does"
    assert.throws(() =>
      Session.Tag("test/A")()(Schema.Struct({ at: Schema.DateFromSelf }), {
        initial: () => ({ at: new Date(0) })
      }), says)
    assert.throws(() =>
      Session.Tag("test/A")()(Schema.Struct({ n: Schema.Number }), {
        initial: () => ({ n: Number.NaN })
      }), says)
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// WebSockets
// ---------------------------------------------------------------------------------------------------------------------

describe("a WebSocket", () => {
  interface Said {
    readonly before: number
    readonly opened: ReadonlyArray<string>
    readonly closed: ReadonlyArray<string>
  }
  const serveSocket = (kind: Session.Kind, first: Write) =>
    Effect.gen(function*() {
      const said = yield* Deferred.make<Said>()
      const attempts = (session: Handle) =>
        Effect.forEach(
          [session.update(inc), session.set({ n: 7, note: "" }), session.rotate(), session.destroy, session.touch],
          (attempt) =>
            Effect.match(attempt as Effect.Effect<unknown, { readonly _tag: string }>, {
              onFailure: ({ _tag }) => _tag,
              onSuccess: () => "went through"
            })
        )
      const socket = Effect.gen(function*() {
        const [upgrading, session] = [yield* HttpServerRequest.HttpServerRequest, yield* Counter]
        const { n } = yield* session.get
        yield* first(session)
        const socket = yield* upgrading.upgrade
        const write = yield* socket.writer
        let opened: ReadonlyArray<string> = []
        yield* socket.runRaw(() =>
          Effect.gen(function*() {
            opened = yield* attempts(session)
            yield* write(`${(yield* session.get).n}`)
          })
        ).pipe(Effect.ignore)
        yield* Deferred.succeed(said, { before: n, opened, closed: yield* attempts(session) })
        return HttpServerResponse.empty()
      })
      return { said: Deferred.await(said), socket: Effect.scoped(socket) as ErasedApp }
    })
  const sent = Array.from({ length: 5 }, () => "SessionSent")

  /** Serves the socket, and connects to it with the cookies of a browser that has been there. */
  const setting = (kind: Session.Kind, first: Write, { isNew = false } = {}) =>
    Effect.gen(function*() {
      const seen = witness()
      const { said, socket } = yield* serveSocket(kind, first)
      const ports: Array<number> = []
      const send = yield* serve(middlewareOf(kind), { "/socket": socket }, {
        ...piped,
        mount: (app, middleware) =>
          Effect.map(listen(Stack.serve(app as HttpApp.Default, middleware as Middleware.Middleware)), (port) => {
            ports.push(port)
            return (init) => request(port, init)
          })
      }).pipe(Effect.provide(seen.layer))
      const visit = browser(send)
      if (!isNew) yield* visit("/inc")
      const client = yield* Effect.orDie(connect(ports[0]!, { path: "/socket", headers: { cookie: visit.cookie() } }))
      return { visit, client, said, logged: Effect.as(Effect.repeatN(Effect.yieldNow(), 200), seen.logged) }
    })
  const lost = "ERROR What was written to a session is lost"

  it.scoped.each(kinds)(
    "reads the session, and what it writes after the 101 is a SessionSent (%s)",
    (kind) =>
      Effect.gen(function*() {
        const { client, logged, said, visit } = yield* setting(kind, ({ update }) => update(inc))
        client.send("go")
        // what was written before is there
        assert.strictEqual(yield* client.next, "2")
        client.close(1000)
        assert.strictEqual((yield* client.closed).code, 1000)
        const { before, closed, opened } = yield* said
        assert.deepStrictEqual([before, opened, closed], [1, sent, sent])
        // what no response can carry is not lost in silence
        assert.deepStrictEqual(yield* logged, kind === "stored" ? [] : [`${lost}: no response can carry it`])
        assert.strictEqual(yield* read(visit("/get")), kind === "stored" ? 2 : 1)
      }).pipe(memory),
    timeout
  )

  it.scoped.each<[what: string, first: Write, during: string, isNew: boolean, message: string, n: number]>([
    ["is new", ({ update }) => update(inc), "/none", true, `${lost}: no response can carry its cookie`, 0],
    ["is rotated", ({ rotate }) => rotate(), "/none", false, `${lost}: no response can carry its cookie`, 1],
    ["is set", ({ set }) => set({ n: 9, note: "" }), "/inc", false, `${lost} +`, 2]
  ])(
    "one that %s before the 101 is lost with a word",
    ([, first, during, isNew, message, n]) =>
      Effect.gen(function*() {
        const { client, logged, said, visit } = yield* setting("stored", first, { isNew })
        yield* visit(during)
        client.close(1000)
        yield* said
        assert.deepStrictEqual(yield* logged, [message])
        assert.strictEqual(yield* read(visit("/get")), n)
      }).pipe(memory),
    timeout
  )
})

// ---------------------------------------------------------------------------------------------------------------------
// whatever comes
// ---------------------------------------------------------------------------------------------------------------------

describe("properties", () => {
  const run = <A>(
    arbitrary: FastCheck.Arbitrary<A>,
    property: (value: A) => Effect.Effect<void>,
    numRuns: number
  ) =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(arbitrary, (value) => Effect.runPromise(property(value))),
        { numRuns }
      )
    )

  it.effect.each(kinds)(
    "any text as a cookie is a new session, and never a 5xx (%s)",
    (kind) =>
      Effect.gen(function*() {
        const good = yield* Effect.scoped(Effect.gen(function*() {
          const visit = browser(yield* serve(middlewareOf(kind)))
          yield* visit("/inc")
          return visit.jar.get(name)!
        }))
        const byte = FastCheck.integer({ min: 1, max: 255 }).filter((code) => code !== 10 && code !== 13)
          .map((code) => String.fromCharCode(code))
        const odd = FastCheck.array(byte, { maxLength: 80 }).map((chars) => chars.join(""))
        const value = FastCheck.oneof(
          odd,
          FastCheck.base64String(),
          FastCheck.json().map((json) => Buffer.from(json).toString("base64url")),
          FastCheck.tuple(FastCheck.nat(good.length), FastCheck.nat(good.length), odd).map(([from, to, text]) =>
            good.slice(0, from) + text + good.slice(to)
          ).filter((text) => !text.includes(good))
        )
        const header = FastCheck.oneof(
          odd,
          value.map((text) => `${name}=${text}`),
          value.map((text) => `${name}.0=${text}`)
        )
        const send = yield* serve(middlewareOf(kind, kind === "stored" ? {} : { chunked: true }))
        yield* run(header, (cookie) =>
          Effect.map(browser(send)("/all", { headers: { cookie: cookie.replaceAll("\0", "") } }), (reply) => {
            assert.deepStrictEqual([reply.status, reply.body, reply.cookies], [200, "[0,true,null]", []])
          }), 150)
      }).pipe(Effect.scoped, memory),
    timeout
  )

  type Step =
    | readonly ["update" | "add" | "set" | "modify", number]
    | readonly ["flash", string]
    | readonly ["login", string | null]
    | readonly ["flashes" | "rotate" | "save" | "touch" | "destroy" | "get"]
  interface Model {
    n: number
    flashes: Array<string>
    principal: string | null
  }
  const steps = FastCheck.array(
    FastCheck.oneof(
      FastCheck.tuple(FastCheck.constantFrom("update", "add", "set", "modify"), FastCheck.integer({ min: -9, max: 9 })),
      FastCheck.tuple(FastCheck.constant("flash"), FastCheck.constantFrom("a", "b")),
      FastCheck.tuple(FastCheck.constant("login"), FastCheck.constantFrom("ada", "bob", null)),
      FastCheck.tuple(FastCheck.constantFrom("flashes", "rotate", "save", "touch", "destroy", "get"))
    ) as FastCheck.Arbitrary<Step>,
    { maxLength: 8 }
  )
  const perform = (session: Handle, [what, value]: Step): Effect.Effect<unknown, unknown> => {
    switch (what) {
      case "update":
      case "add":
        return session.update((all) => ({ ...all, n: all.n + Number(value) }))
      case "set":
        return session.set({ n: Number(value), note: "" })
      case "modify":
        return session.modify((all) => [Math.sign(Number(value)), { ...all, n: all.n * 2 }] as const)
      case "flash":
        return session.flash(value)
      case "flashes":
        return Effect.map(session.flashes, (flashes) => flashes.map(({ text }) => text))
      case "login":
        return session.rotate({ principal: value })
      case "rotate":
        return session.rotate()
      default:
        return session[what]
    }
  }
  const imagine = (model: Model, [what, value]: Step): unknown => {
    switch (what) {
      case "update":
      case "add":
        return void (model.n += value)
      case "set":
        return void (model.n = value)
      case "modify":
        model.n *= 2
        return Math.sign(value)
      case "flash":
        return void model.flashes.push(value)
      case "flashes":
        return model.flashes.splice(0)
      case "login":
        return void (model.principal = value)
      case "destroy":
        return void Object.assign(model, { n: 0, flashes: [], principal: null })
      case "get":
        return { n: model.n, note: "" }
      default:
        return undefined
    }
  }

  it.effect.each(kinds)(
    "what handlers do one after the other is what they would do to a plain value (%s)",
    (kind) =>
      Effect.gen(function*() {
        const model: Model = { n: 0, flashes: [], principal: null }
        let todo: ReadonlyArray<Step> = []
        const own = {
          "/steps": as((session) =>
            Effect.forEach(todo, (step) =>
              Effect.gen(function*() {
                const given = yield* perform(session, step)
                assert.deepStrictEqual(given, imagine(model, step))
                assert.strictEqual((yield* session.get).n, model.n)
                // one that is new and holds nothing has no principal to lose
                const principal = yield* session.principal
                assert.strictEqual(principal._tag === "Some" ? principal.value : null, model.principal)
              }))
          )
        }
        const visit = browser(yield* serve(middlewareOf(kind), own))
        yield* run(FastCheck.array(steps, { minLength: 1, maxLength: 3 }), (requests) =>
          Effect.forEach(requests, (steps) => {
            todo = steps
            return Effect.map(visit("/steps"), ({ status }) =>
              assert.strictEqual(status, 200))
          }, { discard: true }), 40)
        assert.deepStrictEqual(yield* read(visit("/flashes")), model.flashes.map((text) => ({ kind: "info", text })))
      }).pipe(Effect.scoped, memory),
    timeout
  )

  it.effect(
    "two requests of one session, however they fall between one another, lose nothing",
    () =>
      Effect.gen(function*() {
        const requests = new Map<string, { readonly steps: ReadonlyArray<Step>; readonly order: Array<string> }>()
        const own = {
          "/steps": Effect.flatMap(
            HttpServerRequest.HttpServerRequest,
            ({ headers }) =>
              as((session) => {
                const self = headers["x-request"] ?? ""
                const { order, steps } = requests.get(self)!
                // each waits until it is its turn
                const turn = Effect.suspend(() =>
                  order[0] === undefined || order[0] === self
                    ? Effect.void
                    : Effect.yieldNow()
                ).pipe(Effect.repeat({ until: () => order[0] === undefined || order[0] === self }))
                return Effect.forEach(steps, (step) =>
                  Effect.zipRight(turn, perform(session, step)).pipe(
                    Effect.ensuring(Effect.sync(() => order.shift()))
                  )).pipe(Effect.ensuring(Effect.sync(() => {
                    order.splice(0, order.length, ...order.filter((name) => name !== self))
                  })))
              })
          )
        }
        const visit = browser(yield* serve(middlewareOf("stored"), own))
        yield* visit("/login")
        const quiet = steps.map((all) =>
          all.filter(([what]) => ["update", "add", "flash", "save", "get", "touch"].includes(what))
        )
        const both = (steps: FastCheck.Arbitrary<Array<Step>>) =>
          FastCheck.tuple(steps, steps, FastCheck.array(FastCheck.constantFrom("0", "1"), { maxLength: 16 }))
        const go = ([first, second, order]: [Array<Step>, Array<Step>, Array<string>]) => {
          const shared = [...order]
          requests.set("0", { steps: first, order: shared }).set("1", { steps: second, order: shared })
          return Effect.forEach(
            ["0", "1"],
            (self) => visit("/steps", { headers: { "x-request": self } }),
            { concurrency: 2 }
          )
        }
        let expected = 0
        yield* run(both(quiet), (all) =>
          Effect.map(go(all), (replies) => {
            assert.deepStrictEqual(replies.map(({ status }) => status), [200, 200])
            for (const [what, value] of [...all[0], ...all[1]]) {
              if (what === "update" || what === "add") expected += value
            }
          }), 40)
        assert.strictEqual(yield* read(visit("/get")), expected)
        // with whatever else, there may be conflicts, and nothing worse
        yield* run(both(steps), (all) =>
          Effect.map(go(all), (replies) => {
            for (const { body, status } of replies) assert.include([200, 409], status, body)
          }), 60)
      }).pipe(Effect.scoped, memory),
    timeout
  )
})
