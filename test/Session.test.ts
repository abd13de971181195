import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Schema, Stream, TestClock } from "effect"
import { type Middleware, ServerErrors, Session, SessionStore } from "effect-middleware"
import {
  add,
  browser,
  cookiesOf,
  Count,
  Counter,
  handler,
  inc,
  keyring,
  kinds,
  middlewareOf,
  mountOf,
  piped,
  read,
  routes,
  serve
} from "./utils/counter.js"
import { witness } from "./utils/failures.js"
import { type ErasedApp, stackOf } from "./utils/laws.js"
import { mounts } from "./utils/TestApp.js"

/** As slow as the clock of the tests is on a busy machine. */
const timeout = 30_000
const memory = Effect.provide(SessionStore.layerMemory())
const node = mountOf("Stack.serve, Node")
const web = mountOf("toWebHandler(app, mw)")
const text = (value: unknown) => HttpServerResponse.unsafeJson(value)

// ---------------------------------------------------------------------------------------------------------------------
// in every mount
// ---------------------------------------------------------------------------------------------------------------------

for (const kind of ["signed", "stored"] as const) {
  describe(`${kind}, from login to logout`, () => {
    for (const mount of mounts) {
      it.scoped(mount.name, () =>
        Effect.gen(function*() {
          const visit = browser(yield* serve(middlewareOf(kind), {}, mount))
          yield* visit("/none")
          assert.strictEqual(visit.jar.size, 0)
          yield* visit("/inc")
          assert.deepStrictEqual([...visit.jar.keys()], ["__Host-session"])
          yield* visit("/inc")
          assert.deepStrictEqual(yield* read(visit("/all")), [2, false, null])
          const before = visit.cookie()
          const login = yield* visit("/login")
          assert.lengthOf(login.cookies, 1)
          assert.notStrictEqual(visit.cookie(), before)
          assert.deepStrictEqual(yield* read(visit("/all")), [2, false, "ada"])
          const logout = yield* visit("/destroy")
          assert.deepStrictEqual(cookiesOf(logout).map(({ maxAge, name }) => [name, maxAge]), [["__Host-session", 0]])
          assert.strictEqual(visit.jar.size, 0)
          assert.deepStrictEqual(yield* read(visit("/all")), [0, true, null])
        }).pipe(memory), timeout)
    }
  })
}

for (const kind of kinds) {
  describe(kind, () => {
    // -----------------------------------------------------------------------------------------------------------------
    // what is written when
    // -----------------------------------------------------------------------------------------------------------------

    const traceOf = ({ cookies, headers }: { cookies: ReadonlyArray<string>; headers: Record<string, string> }) => [
      cookies.length,
      headers["vary"],
      headers["cache-control"]
    ]

    it.scoped.each<[path: string, isNew: boolean, trace: Array<unknown>]>([
      ["/none", true, [0, undefined, undefined]],
      ["/none", false, [0, undefined, undefined]],
      ["/get", true, [0, "Cookie", undefined]],
      ["/same", true, [0, "Cookie", undefined]],
      ["/same", false, [0, "Cookie", undefined]],
      ["/touch", true, [0, "Cookie", undefined]],
      ["/rotate", true, [0, "Cookie", undefined]],
      ["/logout", true, [0, "Cookie", undefined]],
      ["/destroy", true, [0, "Cookie", undefined]],
      ["/flashes", true, [0, "Cookie", undefined]],
      ["/inc", true, [1, "Cookie", "private"]],
      ["/login", true, [1, "Cookie", "private"]],
      ["/touch", false, [1, "Cookie", "private"]],
      ["/rotate", false, [1, "Cookie", "private"]],
      ["/destroy", false, [1, "Cookie", "private"]]
    ])("what %s leaves on a response (new: %s)", ([path, isNew, trace]) =>
      Effect.gen(function*() {
        const visit = browser(yield* serve(middlewareOf(kind)))
        if (!isNew) yield* visit("/inc")
        if (path === "/touch") yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(traceOf(yield* visit(path)), trace)
      }).pipe(memory), timeout)

    it.scoped(
      "a change of an existing one has a cookie of its own only where the cookie holds it",
      () =>
        Effect.gen(function*() {
          const visit = browser(yield* serve(middlewareOf(kind)))
          yield* visit("/inc")
          assert.deepStrictEqual(
            traceOf(yield* visit("/inc")),
            kind === "stored" ? [0, "Cookie", undefined] : [1, "Cookie", "private"]
          )
          assert.strictEqual(yield* read(visit("/get")), 2)
        }).pipe(memory),
      timeout
    )

    it.scoped(
      "what the handler says of caching and Vary is joined, and its headers stay (CVE-2025-7339)",
      () =>
        Effect.gen(function*() {
          const headers = { "cache-control": "public, max-age=60", vary: "Accept", "x-own": "1", "set-cookie": "a=b" }
          const own = Effect.zipRight(
            Effect.flatMap(Counter, ({ update }) => update(inc)),
            HttpServerResponse.setCookie(HttpServerResponse.text("ok", { headers }), "own", "1")
          )
          for (const mount of [piped, node]) {
            const send = yield* serve(middlewareOf(kind), { "/own": own }, mount)
            const reply = yield* send({ path: "/own" })
            assert.deepStrictEqual([reply.headers["cache-control"], reply.headers["vary"], reply.headers["x-own"]], [
              "max-age=60, private",
              "Accept, Cookie",
              "1"
            ])
            assert.includeMembers(cookiesOf(reply).map(({ name }) => name), ["own", "__Host-session"])
          }
        }).pipe(memory),
      timeout
    )

    it.scoped.each<[what: string, handler: ErasedApp, options: Partial<Session.Options>, kept: number]>([
      ["a 5xx", Effect.as(routes["/inc"], HttpServerResponse.empty({ status: 500 })), {}, 1],
      ["a failure", Effect.zipRight(routes["/inc"], Effect.fail("no")), {}, 1],
      ["a defect", Effect.zipRight(routes["/inc"], Effect.die("no")), {}, 1],
      ["a 4xx", Effect.as(routes["/inc"], HttpServerResponse.empty({ status: 404 })), {}, 2],
      ["a 5xx, with saveOnError", Effect.as(routes["/inc"], HttpServerResponse.empty({ status: 503 })), {
        saveOnError: true
      }, 2],
      ["a defect, with saveOnError", Effect.zipRight(routes["/inc"], Effect.die("no")), { saveOnError: true }, 2],
      [
        "a 5xx after save",
        Effect.zipRight(handler((c) => Effect.zip(c.update(inc), c.save)), HttpServerResponse.empty({ status: 500 })),
        {},
        kind === "stored" ? 2 : 1
      ]
    ])("what is written before %s", ([, failing, options, kept]) =>
      Effect.gen(function*() {
        for (const mount of kind === "stored" ? [piped, node, web] : [piped]) {
          const visit = browser(yield* serve(middlewareOf(kind, options), { "/failing": failing }, mount))
          yield* visit("/inc")
          const reply = yield* visit("/failing")
          assert.notStrictEqual(reply.status, 200)
          assert.strictEqual(reply.headers["vary"], "Cookie")
          assert.strictEqual(yield* read(visit("/get")), kept)
        }
      }).pipe(memory), timeout)

    it.scoped("a rotation is dropped with a 5xx, an end is not", () =>
      Effect.gen(function*() {
        const fails = (path: keyof typeof routes) => Effect.as(routes[path], HttpServerResponse.empty({ status: 500 }))
        const own = { "/login500": fails("/login"), "/destroy500": fails("/destroy") }
        const visit = browser(yield* serve(middlewareOf(kind), own))
        yield* visit("/inc")
        assert.lengthOf((yield* visit("/login500")).cookies, 0)
        assert.deepStrictEqual(yield* read(visit("/all")), [1, false, null])
        const copy = visit.copy()
        yield* visit("/destroy500")
        assert.strictEqual(visit.jar.size, 0)
        // a copy of a cookie that holds everything cannot be ended
        assert.deepStrictEqual(yield* read(copy("/all")), kind === "stored" ? [0, true, null] : [1, false, null])
      }).pipe(memory), timeout)

    it.scoped("within a request what is written is what is read", () =>
      Effect.gen(function*() {
        const own = {
          "/own": handler((c) =>
            Effect.gen(function*() {
              const seen: Array<unknown> = [yield* c.get]
              yield* c.set({ n: 3, note: "a" })
              yield* c.update(inc)
              seen.push(yield* c.get, yield* c.modify((value) => [value.n, add("b")(value)] as const), yield* c.get)
              seen.push(yield* c.isNew, Option.isNone(yield* c.id), Option.isNone(yield* c.expiresAt))
              yield* c.rotate({ principal: "bob" })
              seen.push(Option.getOrThrow(yield* c.principal))
              yield* c.rotate()
              seen.push(Option.getOrThrow(yield* c.principal))
              yield* c.rotate({ principal: null })
              seen.push(Option.isNone(yield* c.principal))
              yield* c.destroy
              seen.push(yield* c.get, yield* c.isNew)
              yield* c.update(add("new"))
              return seen
            })
          )
        }
        const visit = browser(yield* serve(middlewareOf(kind), own))
        assert.deepStrictEqual(yield* read(visit("/own")), [
          { n: 0, note: "" },
          { n: 4, note: "a" },
          4,
          { n: 4, note: "ab" },
          true,
          true,
          true,
          "bob",
          "bob",
          true,
          { n: 0, note: "" },
          true
        ])
        assert.strictEqual(yield* read(visit("/note")), "new")
      }).pipe(memory), timeout)

    it.scoped("what is written after the end is another session", () =>
      Effect.gen(function*() {
        const own = { "/again": handler((c) => Effect.zipRight(c.destroy, c.update(add("new")))) }
        const visit = browser(yield* serve(middlewareOf(kind), own))
        yield* visit("/inc")
        yield* visit("/login")
        const [before, copy] = [yield* read(visit("/id")), visit.copy()]
        const reply = yield* visit("/again")
        assert.lengthOf(reply.cookies, 1)
        assert.deepStrictEqual(yield* read(visit("/all")), [0, false, null])
        assert.strictEqual(yield* read(visit("/note")), "new")
        assert.notStrictEqual(yield* read(visit("/id")), before)
        if (kind === "stored") assert.deepStrictEqual(yield* read(copy("/all")), [0, true, null])
      }).pipe(memory), timeout)

    it.scoped(
      "a rotation is another identifier, and the same age unless it has a principal",
      () =>
        Effect.gen(function*() {
          const visit = browser(yield* serve(middlewareOf(kind)))
          yield* visit("/inc")
          const ids: Array<unknown> = []
          for (const path of ["/get", "/rotate", "/login", "/logout"]) {
            yield* visit(path)
            ids.push(yield* read(visit("/id")))
          }
          assert.lengthOf(new Set(ids), 4)
          for (const id of ids) assert.match(String(id), /^[\w-]{43}$/)
          assert.deepStrictEqual(yield* read(visit("/all")), [1, false, null])
        }).pipe(memory),
      timeout
    )

    it.scoped("set can be run twice, as any Effect can", () =>
      Effect.gen(function*() {
        const own = {
          "/twice": handler((c) => {
            const set = c.set({ n: 7, note: "" })
            return Effect.all([set, c.update(inc), set, c.get])
          })
        }
        const visit = browser(yield* serve(middlewareOf(kind), own))
        assert.deepStrictEqual((yield* read(visit("/twice")) as Effect.Effect<Array<unknown>>)[3], { n: 7, note: "" })
        assert.strictEqual(yield* read(visit("/get")), 7)
      }).pipe(memory), timeout)

    it.scoped("fibers of one request do not lose what the others write", () =>
      Effect.gen(function*() {
        const own = {
          "/many": handler((c) =>
            Effect.forEach(Array.from({ length: 50 }), (_, i) => i % 10 === 3 ? c.save : c.update(inc), {
              concurrency: "unbounded"
            }).pipe(Effect.withMaxOpsBeforeYield(24), Effect.zipRight(c.get), Effect.map(({ n }) => n))
          )
        }
        const visit = browser(yield* serve(middlewareOf(kind), own))
        assert.strictEqual(yield* read(visit("/many")), 45)
        assert.strictEqual(yield* read(visit("/many")), 90)
        assert.strictEqual(yield* read(visit("/get")), 90)
      }).pipe(memory), timeout)

    it.scoped(
      "a mistake of the program is a defect: an empty principal, a value that is none",
      () =>
        Effect.gen(function*() {
          const seen = witness()
          const own = {
            "/empty": handler((c) => c.rotate({ principal: "" })),
            "/wrong": handler((c) => c.set({ n: "1" as never, note: "" }))
          }
          const visit = browser(yield* Effect.provide(serve(middlewareOf(kind), own), seen.layer))
          assert.strictEqual((yield* visit("/empty")).status, 500)
          assert.strictEqual((yield* visit("/wrong")).status, 500)
          assert.strictEqual(visit.jar.size, 0)
        }).pipe(memory),
      timeout
    )

    // -----------------------------------------------------------------------------------------------------------------
    // lifetimes
    // -----------------------------------------------------------------------------------------------------------------

    describe("lifetimes", () => {
      const short = { idle: "10 seconds", absolute: "25 seconds", maxAge: "10 seconds" } as const

      it.scoped("it ends when it has not been used for idle, to the millisecond", () =>
        Effect.gen(function*() {
          const visit = browser(yield* serve(middlewareOf(kind, short)))
          yield* visit("/inc")
          const copy = visit.copy()
          yield* TestClock.adjust("9999 millis")
          assert.deepStrictEqual(yield* read(visit("/all")), [1, false, null])
          // the use of one copy keeps the other where the store knows of it
          yield* TestClock.adjust("1 millis")
          assert.deepStrictEqual(yield* read(copy("/all")), kind === "stored" ? [1, false, null] : [0, true, null])
          yield* TestClock.adjust("9998 millis")
          assert.deepStrictEqual(yield* read(visit.copy()("/all")), [1, false, null])
          yield* TestClock.adjust("10 seconds")
          assert.deepStrictEqual(yield* read(visit("/all")), [0, true, null])
        }).pipe(memory), timeout)

      it.scoped(
        "it ends after absolute however much it is used, and a login begins that anew",
        () =>
          Effect.gen(function*() {
            const send = yield* serve(middlewareOf(kind, short))
            const [stays, logsIn] = [browser(send), browser(send)]
            const all = <A>(f: (visit: typeof stays) => Effect.Effect<A>) => Effect.all([f(stays), f(logsIn)])
            yield* all((visit) => visit("/inc"))
            for (let i = 0; i < 3; i++) {
              yield* TestClock.adjust("8 seconds")
              yield* all((visit) => visit("/inc"))
            }
            yield* logsIn("/login")
            yield* TestClock.adjust("999 millis")
            // what the browser is told is no longer than that, in whole seconds
            const last = yield* stays("/inc")
            if (kind !== "stored") assert.strictEqual(cookiesOf(last)[0]?.maxAge, 1)
            yield* TestClock.adjust("1 millis")
            assert.deepStrictEqual(yield* all((visit) => read(visit("/all"))), [[0, true, null], [4, false, "ada"]])
            // a rotation without a principal changes nothing of that
            for (let i = 0; i < 2; i++) {
              yield* TestClock.adjust("8 seconds")
              yield* logsIn("/rotate")
            }
            yield* TestClock.adjust("7999 millis")
            assert.deepStrictEqual(yield* read(logsIn("/all")), [4, false, "ada"])
            yield* TestClock.adjust("1 millis")
            assert.deepStrictEqual(yield* read(logsIn("/all")), [0, true, null])
          }).pipe(memory),
        timeout
      )

      it.scoped(
        "its use is noted once a tenth of idle has passed, and the browser told again",
        () =>
          Effect.gen(function*() {
            const visit = browser(yield* serve(middlewareOf(kind, { maxAge: "10 seconds" })))
            const maxAges = (path: string) =>
              Effect.map(visit(path), (reply) => cookiesOf(reply).map(({ maxAge }) => maxAge))
            assert.deepStrictEqual(yield* maxAges("/inc"), [10])
            yield* TestClock.adjust("999 millis")
            assert.deepStrictEqual(yield* maxAges("/get"), [])
            yield* TestClock.adjust("1 millis")
            assert.deepStrictEqual(yield* maxAges("/none"), [])
            assert.deepStrictEqual(yield* maxAges("/get"), [10])
            yield* TestClock.adjust("500 millis")
            assert.deepStrictEqual(yield* maxAges("/get"), [])
            assert.deepStrictEqual(yield* maxAges("/touch"), [10])
            yield* TestClock.adjust("999 millis")
            assert.deepStrictEqual(yield* maxAges("/get"), [])
          }).pipe(memory),
        timeout
      )

      it.scoped.each([false, true])(
        "touch notes it although something is written (%s)",
        (writes) =>
          Effect.gen(function*() {
            const own = { "/both": handler((c) => Effect.zip(c.touch, writes ? c.update(inc) : c.save)) }
            const visit = browser(yield* serve(middlewareOf(kind, { idle: "10 seconds" }), own))
            yield* visit("/inc")
            yield* TestClock.adjust("900 millis")
            yield* visit("/both")
            assert.strictEqual(yield* read(visit("/expires")), "1970-01-01T00:00:10.900Z")
            yield* TestClock.adjust("9999 millis")
            assert.strictEqual(yield* read(visit("/get")), writes ? 2 : 1)
          }).pipe(memory)
      )

      it.scoped("with maxAge: \"session\" the browser is told no time", () =>
        Effect.gen(function*() {
          const visit = browser(yield* serve(middlewareOf(kind, { maxAge: "session", absolute: "20 days" })))
          const [cookie] = cookiesOf(yield* visit("/inc"))
          assert.deepStrictEqual(cookie?.attributes, ["Path=/", "HttpOnly", "Secure", "SameSite=Lax"])
          yield* TestClock.adjust("13 days")
          // what is in the cookie has to be sent again for its time to be noted
          const cookies = cookiesOf(yield* visit("/get")).map(({ maxAge }) => maxAge)
          assert.deepStrictEqual(cookies, kind === "stored" ? [] : [undefined])
          yield* TestClock.adjust("6 days")
          assert.strictEqual(yield* read(visit("/get")), 1)
          yield* TestClock.adjust("1 days")
          assert.strictEqual(yield* read(visit("/get")), 0)
        }).pipe(memory), timeout)

      it.scoped("the defaults: 14 days of the cookie and without use, 90 at all", () =>
        Effect.gen(function*() {
          const visit = browser(yield* serve(middlewareOf(kind)))
          const [cookie] = cookiesOf(yield* visit("/inc"))
          assert.strictEqual(cookie?.maxAge, 14 * 86_400)
          assert.strictEqual(yield* read(visit("/expires")), "1970-01-15T00:00:00.000Z")
          for (let i = 0; i < 6; i++) {
            yield* TestClock.adjust("13 days")
            yield* visit("/get")
          }
          assert.strictEqual(yield* read(visit("/expires")), "1970-04-01T00:00:00.000Z")
        }).pipe(memory), timeout)
    })

    // -----------------------------------------------------------------------------------------------------------------
    // values
    // -----------------------------------------------------------------------------------------------------------------

    describe("values", () => {
      class V1 extends Session.Tag("test/Versioned")<V1>()(Schema.Struct({ name: Schema.String }), {
        initial: () => ({ name: "new" })
      }) {}
      const V2 = Schema.Struct({ first: Schema.String, at: Schema.Date })
      const initial = () => ({ first: "initial", at: new Date(0) })
      class Migrating extends Session.Tag("test/Versioned")<Migrating>()(V2, {
        version: 3,
        initial,
        migrate: (value, version) => ({
          first: `${version} ${(value as { name: string }).name.toUpperCase()}`,
          at: "1970-01-02T00:00:00.000Z"
        })
      }) {}
      class Throwing extends Session.Tag("test/Versioned")<Throwing>()(V2, {
        version: 2,
        initial,
        migrate: (value) => ({ first: (value as { nothing: string }).nothing.toUpperCase() })
      }) {}
      class Wrong extends Session.Tag("test/Versioned")<Wrong>()(V2, { version: 2, initial, migrate: () => ({}) }) {}
      class Strict extends Session.Tag("test/Versioned")<Strict>()(V2, { version: 2, initial }) {}
      class Same extends Session.Tag("test/Versioned")<Same>()(V2, { initial }) {}

      type Any = { readonly middleware: typeof Counter.middleware }
      const of = (tag: unknown): Middleware.Any =>
        kind === "stored"
          ? (tag as Any).middleware({ kind })
          : (tag as Any).middleware({ kind, keyring })
      const write = (name: string) => Effect.flatMap(V1, (c) => Effect.as(c.set({ name }), HttpServerResponse.empty()))
      const shown = (tag: typeof Migrating) =>
        Effect.flatMap(tag, (c) => Effect.map(Effect.all([c.get, c.isNew]), text))
      const change = (tag: typeof Migrating) =>
        Effect.flatMap(
          tag,
          (c) => Effect.as(c.update((value) => ({ ...value, first: `${value.first}!` })), HttpServerResponse.empty())
        )

      it.scoped("of an earlier version are migrated, and written when they change", () =>
        Effect.gen(function*() {
          const before = browser(yield* serve(of(V1), { "/write": write("ada") }))
          yield* before("/write")
          const send = yield* serve(of(Migrating), { "/shown": shown(Migrating), "/change": change(Migrating) })
          const visit = browser(send, before.jar)
          const expected = (first: string) => [{ first, at: "1970-01-02T00:00:00.000Z" }, false]
          const reply = yield* visit("/shown")
          assert.deepStrictEqual(JSON.parse(reply.body), expected("1 ADA"))
          assert.lengthOf(reply.cookies, 0)
          yield* visit("/change")
          assert.deepStrictEqual(yield* read(visit("/shown")), expected("1 ADA!"))
        }).pipe(memory), timeout)

      it.scoped.each<[what: string, tag: unknown]>([
        ["of an earlier version, without a migration", Strict],
        ["of an earlier version, where the migration throws", Throwing],
        ["of an earlier version, where the migration makes nothing good", Wrong],
        ["that the schema does not decode", Same]
      ])("%s: a new session and a warning", ([, tag]) =>
        Effect.gen(function*() {
          const before = browser(yield* serve(of(V1), { "/write": write("ada") }))
          yield* before("/write")
          const seen = witness()
          const own = { "/shown": shown(tag as typeof Migrating), "/change": change(tag as typeof Migrating) }
          const visit = browser(yield* Effect.provide(serve(of(tag), own), seen.layer), before.jar)
          const reply = yield* visit("/shown")
          assert.deepStrictEqual([reply.status, reply.cookies.length], [200, 0])
          assert.deepStrictEqual(JSON.parse(reply.body)[1], true)
          assert.deepStrictEqual(seen.logged, ["WARN What a session holds cannot be decoded; it is a new one"])
          const cookie = visit.cookie()
          yield* visit("/change")
          assert.notStrictEqual(visit.cookie(), cookie)
          assert.deepStrictEqual((yield* read(visit("/shown"))) as unknown, [
            { first: "initial!", at: "1970-01-01T00:00:00.000Z" },
            false
          ])
        }).pipe(memory), timeout)

      it.scoped("of a later version are a new session: an old server beside a new one", () =>
        Effect.gen(function*() {
          const before = browser(yield* serve(of(Migrating), { "/change": change(Migrating) }))
          yield* before("/change")
          const visit = browser(yield* serve(of(Strict), { "/shown": shown(Strict as never) }), before.jar)
          assert.deepStrictEqual(((yield* read(visit("/shown"))) as Array<unknown>)[1], true)
        }).pipe(memory), timeout)
    })

    // -----------------------------------------------------------------------------------------------------------------
    // several
    // -----------------------------------------------------------------------------------------------------------------

    describe("two side by side", () => {
      class Other extends Session.Tag("test/Other")<Other>()(Count) {}
      const other = (name?: string) => {
        const cookie = { name }
        return kind === "stored" ? Other.middleware({ kind, cookie }) : Other.middleware({ kind, keyring, cookie })
      }
      const both = Effect.gen(function*() {
        yield* (yield* Counter).update(inc)
        yield* (yield* Other).update(add("x"))
        return HttpServerResponse.empty()
      })
      const shown = Effect.gen(function*() {
        const [counter, other] = [yield* Counter, yield* Other]
        return text([(yield* counter.get).n, yield* counter.isNew, (yield* other.get).note, yield* other.isNew])
      })

      it.scoped("know nothing of one another", () =>
        Effect.gen(function*() {
          const own = { "/both": both, "/shown": shown }
          const visit = browser(yield* serve(stackOf(middlewareOf(kind), other("other")), own))
          yield* visit("/both")
          assert.deepStrictEqual([...visit.jar.keys()].sort(), ["__Host-other", "__Host-session"])
          assert.deepStrictEqual(yield* read(visit("/shown")), [1, false, "x", false])
          // the cookie of one is nothing to the other
          const [a, b] = [visit.jar.get("__Host-session")!, visit.jar.get("__Host-other")!]
          visit.jar.set("__Host-session", b).set("__Host-other", a)
          assert.deepStrictEqual(yield* read(visit("/shown")), [0, true, "", true])
        }).pipe(memory), timeout)

      it.scoped("with one cookie are a mistake that says what to write", () =>
        Effect.gen(function*() {
          const seen: Array<string> = []
          const guard = ServerErrors.middleware({
            handler: (error) =>
              Effect.sync(() => {
                seen.push(String(error))
                return HttpServerResponse.empty({ status: 500 })
              })
          })
          const visit = browser(yield* serve(stackOf(guard, middlewareOf(kind), other("session")), { "/both": both }))
          assert.strictEqual((yield* visit("/both")).status, 500)
          assert.match(
            seen.join(),
            /Session: test\/Counter and something else set __Host-session: give one of them another cookie\.name/
          )
        }).pipe(memory), timeout)
    })

    // -----------------------------------------------------------------------------------------------------------------
    // messages
    // -----------------------------------------------------------------------------------------------------------------

    describe("flash", () => {
      const own = {
        "/post": Effect.as(
          handler((c) => Effect.zip(c.flash("saved"), c.flash("but slowly", "warning"))),
          HttpServerResponse.redirect("/flashes", { status: 303 })
        ),
        "/many": handler((c) => Effect.forEach(Array.from({ length: 40 }, (_, i) => `${i}`), (text) => c.flash(text))),
        "/here": handler((c) => Effect.zipRight(c.flash("now"), Effect.all([c.flashes, c.flashes])))
      }
      const flash = (text: string, kind = "info") => ({ kind, text })

      it.scoped("is shown once, after the redirect", () =>
        Effect.gen(function*() {
          const visit = browser(yield* serve(middlewareOf(kind), own))
          assert.strictEqual((yield* visit("/post")).status, 303)
          assert.deepStrictEqual(yield* read(visit("/get")), 0)
          assert.deepStrictEqual(yield* read(visit("/flashes")), [flash("saved"), flash("but slowly", "warning")])
          assert.deepStrictEqual(yield* read(visit("/flashes")), [])
          assert.deepStrictEqual(yield* read(visit("/here")), [[flash("now")], []])
        }).pipe(memory), timeout)

      it.scoped("keeps the last 32", () =>
        Effect.gen(function*() {
          const visit = browser(yield* serve(middlewareOf(kind), own))
          yield* visit("/many")
          const flashes = (yield* read(visit("/flashes"))) as ReadonlyArray<Session.Flash>
          assert.deepStrictEqual([flashes.length, flashes[0]?.text, flashes[31]?.text], [32, "8", "39"])
        }).pipe(memory), timeout)
    })

    // -----------------------------------------------------------------------------------------------------------------
    // cookies
    // -----------------------------------------------------------------------------------------------------------------

    it.scoped.each<
      [what: string, options: Session.CookieOptions, host: string, name: string, attributes: Array<string>]
    >([
      ["by default", {}, "example.com", "__Host-session", ["Path=/", "HttpOnly", "Secure", "SameSite=Lax"]],
      [
        "of one's own",
        { name: "cart", prefix: "__Secure-", path: "/shop", domain: "example.com", sameSite: "strict" },
        "example.com",
        "__Secure-cart",
        ["Domain=example.com", "Path=/shop", "HttpOnly", "Secure", "SameSite=Strict"]
      ],
      [
        "partitioned",
        { partitioned: true, sameSite: "none" },
        "example.com",
        "__Host-session",
        ["Path=/", "HttpOnly", "Secure", "Partitioned", "SameSite=None"]
      ],
      ["on localhost", { localhost: true }, "localhost:3000", "session", ["Path=/", "HttpOnly", "SameSite=Lax"]],
      [
        "elsewhere, although localhost is let",
        { localhost: true },
        "localhost.example.com",
        "__Host-session",
        ["Path=/", "HttpOnly", "Secure", "SameSite=Lax"]
      ]
    ])("its cookie %s", ([, cookie, host, name, attributes]) =>
      Effect.gen(function*() {
        const visit = browser(yield* serve(middlewareOf(kind, { cookie, maxAge: "1 hour" }), {}, node))
        const init = { headers: { host } }
        const [made, ...rest] = cookiesOf(yield* visit("/inc", init))
        assert.deepStrictEqual([made?.name, rest], [name, []])
        assert.sameMembers([...made!.attributes], ["Max-Age=3600", ...attributes])
        assert.strictEqual(yield* read(visit("/get", init)), 1)
        // it is expired by the same attributes
        const [gone] = cookiesOf(yield* visit("/destroy", init))
        assert.sameMembers([...gone!.attributes], ["Max-Age=0", ...attributes])
      }).pipe(memory), timeout)

    // -----------------------------------------------------------------------------------------------------------------
    // sent
    // -----------------------------------------------------------------------------------------------------------------

    it.scoped("what a body writes after the response has begun is a SessionSent", () =>
      Effect.gen(function*() {
        const said: Array<string> = []
        const streaming = Effect.flatMap(Counter, (c) => {
          const attempts = {
            update: c.update(inc),
            set: c.set({ n: 9, note: "" }),
            modify: c.modify((value) => [1, inc(value)] as const),
            rotate: c.rotate(),
            destroy: c.destroy,
            touch: c.touch,
            flash: c.flash("late"),
            revokeOthers: Effect.asVoid(Counter.revokeOthers)
          }
          const run = Effect.forEach(
            Object.entries(attempts),
            ([name, attempt]) =>
              Effect.map(Effect.either(attempt as Effect.Effect<unknown, { readonly _tag: string }>), (either) =>
                said.push(`${name} ${either._tag === "Left" ? either.left._tag : "went through"}`))
          )
          const body = Stream.fromEffect(
            Effect.map(Effect.zipRight(run, c.get), ({ n }) =>
              new TextEncoder().encode(`${n}`))
          ).pipe(Stream.provideService(Counter, c))
          return Effect.map(
            Effect.context<SessionStore.SessionStore>(),
            (context) => HttpServerResponse.stream(Stream.provideContext(body, context))
          )
        })
        for (const mount of [piped, node]) {
          const visit = browser(yield* serve(middlewareOf(kind), { "/streaming": streaming }, mount))
          yield* visit("/inc")
          const reply = yield* visit("/streaming")
          assert.deepStrictEqual([reply.body, reply.cookies.length], ["1", 0])
          assert.deepStrictEqual(
            said.splice(0),
            ["update", "set", "modify", "rotate", "destroy", "touch", "flash", "revokeOthers"].map((name) =>
              `${name} SessionSent`
            )
          )
          assert.deepStrictEqual(yield* read(visit("/all")), [1, false, null])
        }
      }).pipe(memory), timeout)

    // -----------------------------------------------------------------------------------------------------------------
    // of a principal
    // -----------------------------------------------------------------------------------------------------------------

    it.scoped("with epochs, all sessions of a principal end at once, and no others", () =>
      Effect.gen(function*() {
        const own = {
          "/bob": handler((c) => c.rotate({ principal: "bob" })),
          "/inc+login": handler((c) => Effect.zipRight(c.update(inc), c.rotate({ principal: "ada" }))),
          "/others": handler(() => Counter.revokeOthers),
          "/everywhere": handler(() => Counter.revokeAll("ada"))
        }
        const send = yield* serve(middlewareOf(kind, { epochs: true }), own)
        const [phone, laptop, tablet, bob, nobody] = [
          browser(send),
          browser(send),
          browser(send),
          browser(send),
          browser(send)
        ] as const
        for (const visit of [phone, laptop, tablet, bob, nobody]) yield* visit("/inc")
        for (const visit of [phone, laptop, tablet]) yield* visit("/login")
        yield* bob("/bob")
        const is = (visit: typeof phone) =>
          Effect.map(read(visit("/all")), (all) => (all as Array<unknown>)[1] === false)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* read(phone("/others")), kind === "stored" ? 2 : 0)
        assert.deepStrictEqual(yield* Effect.forEach([phone, laptop, tablet, bob, nobody], is), [
          true,
          false,
          false,
          true,
          true
        ])
        yield* laptop("/login")
        assert.isTrue(yield* is(laptop))
        assert.deepStrictEqual(yield* read(bob("/everywhere")), kind === "stored" ? 2 : 0)
        assert.deepStrictEqual(yield* Effect.forEach([phone, laptop, bob, nobody], is), [false, false, true, true])
        yield* phone("/login")
        assert.isTrue(yield* is(phone))
        // what was written before is of that epoch, too
        yield* tablet("/inc+login")
        assert.isTrue(yield* is(tablet))
      }).pipe(memory), timeout)
  })
}
