/** Sessions in a store: two requests at once, what the store is asked, and what happens when it does not answer. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, TestClock } from "effect"
import { ServerErrors, Session, SessionStore } from "effect-middleware"
import {
  add,
  type Browser,
  browser,
  Count,
  Counter,
  counting,
  down,
  handler,
  inc,
  makeGate,
  middlewareOf,
  mountOf,
  type Operation,
  read,
  serve,
  watched
} from "./utils/counter.js"
import { failed, settled, witness } from "./utils/failures.js"
import { type ErasedApp, stackOf } from "./utils/laws.js"

const timeout = 30_000
const memory = Effect.provide(SessionStore.layerMemory())
const node = mountOf("Stack.serve, Node")
type Handle = Parameters<Parameters<typeof handler>[0]>[0]
type Write = (session: Handle) => Effect.Effect<unknown, unknown, SessionStore.SessionStore | Counter>
const as = handler as (f: Write) => ErasedApp

// ---------------------------------------------------------------------------------------------------------------------
// two requests at once
// ---------------------------------------------------------------------------------------------------------------------

describe("two requests of one session at once", () => {
  const writes = {
    update: ({ update }) => update(inc),
    set: ({ set }) => set({ n: 10, note: "set" }),
    modify: ({ modify }) => modify((value) => ["same", inc(value)] as const),
    "modify, with what it held": ({ modify }) => modify((value) => [value.n, inc(value)] as const),
    flash: ({ flash }) => flash("hello"),
    flashes: ({ flashes }) => flashes,
    rotate: ({ rotate }) => rotate(),
    login: ({ rotate }) => rotate({ principal: "ada" }),
    destroy: ({ destroy }) => destroy,
    touch: ({ touch }) => touch,
    get: ({ get }) => get
  } satisfies Record<string, Write>
  type Name = keyof typeof writes

  it.scoped.each<[slow: Name, fast: Name, status: number, n: number | "new"]>([
    ["get", "update", 200, 2],
    ["update", "get", 200, 2],
    ["update", "update", 200, 3],
    ["update", "set", 200, 11],
    ["update", "touch", 200, 2],
    ["set", "get", 200, 10],
    ["set", "update", 409, 2],
    ["set", "set", 409, 10],
    ["set", "flash", 409, 1],
    ["modify", "update", 200, 3],
    ["modify, with what it held", "update", 409, 2],
    ["modify, with what it held", "flash", 200, 2],
    ["flash", "update", 200, 2],
    ["rotate", "update", 200, 2],
    ["login", "update", 200, 2],
    ["login", "set", 200, 10],
    // it is gone, or has another name, and stays so
    ["get", "destroy", 200, "new"],
    ["touch", "destroy", 200, "new"],
    ["update", "destroy", 409, "new"],
    ["set", "destroy", 409, "new"],
    ["flash", "destroy", 409, "new"],
    ["rotate", "destroy", 409, "new"],
    ["destroy", "update", 200, "new"],
    ["destroy", "destroy", 200, "new"],
    ["destroy", "rotate", 200, "new"],
    ["get", "rotate", 200, 1],
    ["touch", "rotate", 200, 1],
    ["update", "rotate", 409, 1],
    ["set", "rotate", 409, 1],
    ["rotate", "rotate", 409, 1],
    ["login", "login", 409, 1]
  ])("a slow %s around a %s: %i, and then it holds %s", ([slow, fast, status, n]) =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      const own = {
        "/slow": as((session) => Effect.all([session.get, gate.pass, writes[slow](session)])),
        "/fast": as(writes[fast])
      }
      const visit = browser(yield* serve(middlewareOf("stored"), own))
      yield* visit("/inc")
      const slowly = yield* Effect.fork(visit("/slow"))
      yield* gate.entered
      yield* read(visit("/fast"))
      yield* gate.open
      const reply = yield* slowly
      assert.strictEqual(reply.status, status)
      if (status === 409) {
        assert.strictEqual(reply.headers["content-type"], "application/problem+json")
        assert.strictEqual(JSON.parse(reply.body).detail, "Another request has changed the session in the meantime")
        assert.lengthOf(reply.cookies, 0)
      }
      const [held, isNew] = (yield* read(visit("/all"))) as [number, boolean]
      assert.deepStrictEqual([held, isNew], n === "new" ? [0, true] : [n, false])
    }).pipe(memory), timeout)

  it.scoped.each<[slow: Name, fast: Name, reason: string]>([
    ["set", "update", "changed"],
    ["modify, with what it held", "update", "changed"],
    ["update", "destroy", "ended"],
    ["update", "rotate", "superseded"],
    ["rotate", "rotate", "superseded"]
  ])("save says of a slow %s around a %s that it has been %3$s", ([slow, fast, reason]) =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      const own = {
        "/slow": as((session) =>
          Effect.all([session.get, gate.pass, writes[slow](session)]).pipe(
            Effect.zipRight(Effect.flip(session.save)),
            Effect.flatMap((error) => Effect.map(session.get, ({ n }) => [error, n]))
          )
        ),
        "/fast": as(writes[fast])
      }
      const visit = browser(yield* serve(middlewareOf("stored"), own))
      yield* visit("/inc")
      const slowly = yield* Effect.fork(read(visit("/slow")))
      yield* gate.entered
      yield* read(visit("/fast"))
      yield* gate.open
      // who handles it goes on with what is there
      const [error, n] = (yield* slowly) as [unknown, number]
      assert.deepStrictEqual(error, { _tag: "SessionConflict", reason })
      assert.strictEqual(n, fast === "update" ? 2 : reason === "ended" ? 0 : 1)
    }).pipe(memory), timeout)

  it.scoped("messages from both are kept, and what one has shown stays shown", () =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      const own = {
        "/slow": as(({ flash, get }) => Effect.all([get, gate.pass, flash("slow")])),
        "/fast": as(({ flash }) => flash("fast"))
      }
      const visit = browser(yield* serve(middlewareOf("stored"), own))
      yield* visit("/inc")
      const slowly = yield* Effect.fork(visit("/slow"))
      yield* gate.entered
      yield* visit("/fast")
      yield* gate.open
      yield* slowly
      assert.deepStrictEqual(yield* read(visit("/flashes")), ["fast", "slow"].map((text) => ({ kind: "info", text })))
      assert.deepStrictEqual(yield* read(visit("/flashes")), [])
    }).pipe(memory), timeout)

  it.scoped("each sees its own session alone (CVE-2026-32887)", () =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      const own = {
        "/slow": as(({ get, update }) => Effect.all([update(add("slow")), gate.pass, get])),
        "/fast": as(({ get, update }) => Effect.zipRight(update(add("fast")), get))
      }
      for (const mount of [mountOf("app.pipe"), node]) {
        const send = yield* serve(middlewareOf("stored"), own, mount)
        const [ada, bob] = [browser(send), browser(send)]
        const slowly = yield* Effect.fork(read(ada("/slow")))
        yield* gate.entered
        assert.deepStrictEqual(yield* read(bob("/fast")), { n: 0, note: "fast" })
        yield* gate.open
        assert.deepStrictEqual(((yield* slowly) as Array<unknown>)[2], { n: 0, note: "slow" })
        assert.deepStrictEqual(yield* read(ada("/note")), "slow")
        assert.deepStrictEqual(yield* read(bob("/note")), "fast")
      }
    }).pipe(memory), timeout)

  it.scoped("200 that count end at 200", () =>
    Effect.gen(function*() {
      const own = { "/yields": as(({ get, update }) => Effect.all([get, Effect.yieldNow(), update(inc)])) }
      for (const path of ["/inc", "/yields"]) {
        const visit = browser(yield* serve(middlewareOf("stored"), own))
        yield* visit("/touch")
        yield* visit("/inc")
        const replies = yield* Effect.forEach(Array.from({ length: 199 }), () => visit(path), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(new Set(replies.map(({ status }) => status)), new Set([200]))
        assert.strictEqual(yield* read(visit("/get")), 200)
      }
    }).pipe(memory), 30_000)
})

// ---------------------------------------------------------------------------------------------------------------------
// rotation
// ---------------------------------------------------------------------------------------------------------------------

describe("the identifier from before a rotation", () => {
  it.scoped("reads what it held for the time of grace, and is nothing afterwards", () =>
    Effect.gen(function*() {
      const visit = browser(yield* serve(middlewareOf("stored")))
      yield* visit("/inc")
      const before = visit.copy()
      yield* visit("/login")
      yield* visit("/inc")
      yield* TestClock.adjust("9999 millis")
      const reply = yield* before("/all")
      assert.deepStrictEqual([JSON.parse(reply.body), reply.cookies.length], [[1, false, null], 0])
      for (const path of ["/inc", "/rotate", "/login", "/five"]) {
        assert.strictEqual((yield* before(path)).status, 409, path)
      }
      assert.strictEqual((yield* before("/touch")).status, 200)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* read(before("/all")), [0, true, null])
      assert.deepStrictEqual(yield* read(visit("/all")), [2, false, "ada"])
    }).pipe(memory), timeout)

  it.scoped("ends the new one, too", () =>
    Effect.gen(function*() {
      const visit = browser(yield* serve(middlewareOf("stored")))
      yield* visit("/inc")
      const before = visit.copy()
      yield* visit("/login")
      yield* before("/destroy")
      assert.deepStrictEqual(yield* read(visit("/all")), [0, true, null])
    }).pipe(memory), timeout)

  it.scoped("is nothing at once without grace, or after as much of it as is said", () =>
    Effect.gen(function*() {
      const after = (grace: Session.Options["grace"], time: "0 millis" | "59 seconds" | "60 seconds") =>
        Effect.gen(function*() {
          const visit = browser(yield* serve(middlewareOf("stored", { grace })))
          yield* visit("/inc")
          const before = visit.copy()
          yield* visit("/rotate")
          yield* TestClock.adjust(time)
          return yield* read(before("/get"))
        })
      assert.strictEqual(yield* after(0, "0 millis"), 0)
      assert.strictEqual(yield* after("1 minute", "59 seconds"), 1)
      assert.strictEqual(yield* after("1 minute", "60 seconds"), 0)
    }).pipe(memory), timeout)

  it.scoped("saves of two fibers make one session, and rotate it once", () =>
    Effect.gen(function*() {
      const { store, taken } = counting()
      yield* Effect.gen(function*() {
        const twice = (session: Handle) => Effect.all([session.save, session.save], { concurrency: 2 })
        const own = {
          "/new": as((session) => Effect.zipRight(session.update(inc), twice(session))),
          "/turn": as((session) => Effect.zipRight(session.rotate(), twice(session))),
          "/gone": as((session) => Effect.all([session.get, session.destroy], { concurrency: 2 }))
        }
        const visit = browser(yield* serve(middlewareOf("stored"), own))
        assert.lengthOf((yield* visit("/new")).cookies, 1)
        assert.deepStrictEqual(taken(), ["create"])
        yield* TestClock.adjust("1 second")
        assert.lengthOf((yield* visit("/turn")).cookies, 1)
        assert.deepStrictEqual(taken(), ["load", "rotate"])
        yield* visit("/gone")
        assert.deepStrictEqual(taken(), ["load", "destroy"])
        assert.strictEqual(visit.jar.size, 0)
      }).pipe(Effect.provide(store))
    }))

  it.scoped(
    "what another fiber writes while a save is under way is written later, a rotation too",
    () =>
      Effect.gen(function*() {
        const [gate, calls] = [yield* makeGate, Array<Operation>()]
        const store = watched((operation) => {
          calls.push(operation)
          return operation === "save" ? gate.pass : Effect.void
        })
        yield* Effect.gen(function*() {
          const own = {
            "/both": as((session) =>
              Effect.gen(function*() {
                yield* session.update(inc)
                const saving = yield* Effect.fork(session.save)
                yield* gate.entered
                yield* session.update(inc)
                yield* session.rotate({ principal: "ada" })
                yield* gate.open
                yield* saving
                return (yield* session.get).n
              })
            )
          }
          const visit = browser(yield* serve(middlewareOf("stored"), own))
          yield* visit("/inc")
          assert.strictEqual(yield* read(visit("/both")), 3)
          assert.deepStrictEqual(yield* read(visit("/all")), [3, false, "ada"])
          assert.deepStrictEqual(calls, ["create", "load", "save", "rotate", "load"])
        }).pipe(Effect.provide(store))
      }),
    timeout
  )
})

// ---------------------------------------------------------------------------------------------------------------------
// what the store is asked
// ---------------------------------------------------------------------------------------------------------------------

describe("what the store is asked", () => {
  it.scoped.each<[what: string, path: string, age: "now" | "2 days" | "new", calls: ReadonlyArray<Operation>]>([
    ["untouched", "/none", "now", []],
    ["untouched, and due", "/none", "2 days", []],
    ["read", "/get", "now", ["load"]],
    ["read, its touch due", "/get", "2 days", ["load"]],
    ["written", "/inc", "now", ["load", "save"]],
    ["written, its touch due", "/inc", "2 days", ["load", "save"]],
    ["written as it was", "/same", "now", ["load"]],
    ["touched", "/touch", "now", ["load", "load"]],
    ["rotated", "/rotate", "now", ["load", "rotate"]],
    ["rotated and written", "/both", "now", ["load", "rotate"]],
    ["ended", "/destroy", "now", ["destroy"]],
    ["read and ended", "/end", "now", ["load", "destroy"]],
    ["new and read", "/get", "new", []],
    ["new and written", "/inc", "new", ["create"]],
    ["new and written as it was", "/same", "new", []],
    ["new and given a principal", "/login", "new", ["create"]],
    ["new and rotated", "/rotate", "new", []],
    ["new and ended", "/destroy", "new", []],
    ["new, written and ended", "/write+end", "new", []],
    ["new, saved and ended", "/save+end", "new", ["create", "destroy"]],
    ["rotated, saved and ended", "/turn+end", "now", ["load", "rotate", "destroy"]]
  ])("%s", ([, path, age, calls]) => {
    const { store, taken } = counting()
    return Effect.gen(function*() {
      const own = {
        "/both": as(({ rotate, update }) => Effect.zip(rotate({ principal: "ada" }), update(inc))),
        "/end": as(({ destroy, get }) => Effect.zip(get, destroy)),
        "/save+end": as(({ destroy, save, update }) => Effect.all([update(inc), save, destroy])),
        "/turn+end": as(({ destroy, rotate, save }) => Effect.all([rotate(), save, destroy])),
        "/write+end": as(({ destroy, update }) => Effect.zip(update(inc), destroy))
      }
      const visit = browser(yield* serve(middlewareOf("stored"), own))
      if (age !== "new") yield* visit("/inc")
      if (age === "2 days") yield* TestClock.adjust(age)
      taken()
      assert.strictEqual((yield* visit(path)).status, 200)
      assert.deepStrictEqual(taken(), calls)
      if (path.endsWith("end")) {
        assert.strictEqual(visit.jar.size, 0)
        assert.lengthOf(yield* Counter.list("ada"), 0)
      }
    }).pipe(Effect.provide(store))
  })

  it.scoped("nothing by a request whose client has left, though it has written", () => {
    const { store, taken } = counting()
    return Effect.gen(function*() {
      const [gate, left] = [yield* makeGate, yield* Deferred.make<void>()]
      const own = {
        "/leave": as(({ update }) =>
          Effect.zipRight(
            update(inc),
            Effect.onInterrupt(Effect.interruptible(gate.pass), () => Deferred.succeed(left, undefined))
          )
        )
      }
      const visit = browser(yield* serve(middlewareOf("stored"), own))
      yield* visit("/inc")
      const leaving = yield* Effect.fork(visit("/leave"))
      yield* gate.entered
      yield* Fiber.interrupt(leaving)
      yield* Deferred.await(left)
      yield* Effect.repeatN(Effect.yieldNow(), 200)
      assert.strictEqual(yield* read(visit("/get")), 1)
      assert.deepStrictEqual(taken(), ["create", "load", "load"])
    }).pipe(Effect.provide(store))
  }, timeout)

  it.scoped("no touch by what another request has written already", () => {
    const { store, taken } = counting()
    return Effect.gen(function*() {
      const gate = yield* makeGate
      const note: Write = ({ update }) => update((value) => ({ ...value, note: "seen" }))
      const own = {
        "/slow": as((session) => Effect.all([session.get, gate.pass, note(session)])),
        "/fast": as(note)
      }
      const visit = browser(yield* serve(middlewareOf("stored"), own))
      yield* visit("/inc")
      const slowly = yield* Effect.fork(visit("/slow"))
      yield* gate.entered
      yield* visit("/fast")
      yield* gate.open
      assert.strictEqual((yield* slowly).status, 200)
      assert.deepStrictEqual(taken(), ["create", "load", "load", "save", "save", "load"])
    }).pipe(Effect.provide(store))
  }, timeout)

  it.scoped("with epochs one more, where it has a principal", () => {
    const { store, taken } = counting()
    return Effect.gen(function*() {
      const visit = browser(yield* serve(middlewareOf("stored", { epochs: true })))
      yield* visit("/inc")
      yield* visit("/get")
      assert.deepStrictEqual(taken(), ["create", "load"])
      yield* visit("/login")
      yield* visit("/get")
      assert.deepStrictEqual(taken(), ["load", "epoch", "rotate", "load", "epoch"])
      const signed = browser(yield* serve(middlewareOf("signed", { epochs: true })))
      yield* signed("/inc")
      yield* signed("/get")
      assert.deepStrictEqual(taken(), [])
      yield* signed("/login")
      yield* signed("/get")
      assert.deepStrictEqual(taken(), ["epoch", "epoch"])
    }).pipe(Effect.provide(store))
  })

  it.scoped("nothing by an identifier that cannot be one, nor under the identifier itself", () => {
    const ids: Array<string> = []
    const store = watched((_, id) => Effect.sync(() => ids.push(id)))
    return Effect.gen(function*() {
      const send = yield* serve(middlewareOf("stored"))
      for (const cookie of ["", "x", "a".repeat(42), "a".repeat(44), `${"a".repeat(42)}+`, `${"a".repeat(42)}{`]) {
        yield* read(browser(send, [["__Host-session", cookie]])("/get"))
      }
      assert.isFalse(yield* Counter.revoke("ada", "user:{1}"))
      assert.deepStrictEqual(ids, [])
      const visit = browser(send)
      yield* visit("/inc")
      yield* visit("/get")
      const identifier = visit.jar.get("__Host-session")!
      assert.match(identifier, /^[\w-]{43}$/)
      assert.lengthOf(new Set(ids), 1)
      assert.notInclude(ids, identifier)
      assert.strictEqual(yield* read(visit("/id")), ids[0])
    }).pipe(Effect.provide(store))
  })

  it.scoped("a slow write does not put back the time that another request has noted", () =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      const own = { "/slow": as(({ get, update }) => Effect.all([get, gate.pass, update(inc)])) }
      const visit = browser(yield* serve(middlewareOf("stored", { maxAge: "10 seconds" }), own))
      yield* visit("/inc")
      yield* TestClock.adjust("999 millis")
      const slowly = yield* Effect.fork(visit("/slow"))
      yield* gate.entered
      yield* TestClock.adjust("8 seconds")
      yield* visit("/get")
      yield* gate.open
      assert.lengthOf((yield* slowly).cookies, 1)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual(yield* read(visit("/get")), 2)
    }).pipe(memory), timeout)

  it.scoped("an absolute lifetime that was shorter before stays so", () =>
    Effect.gen(function*() {
      const short = browser(yield* serve(middlewareOf("stored", { idle: "10 seconds", absolute: "15 seconds" })))
      yield* short("/inc")
      yield* TestClock.adjust("8 seconds")
      const own = { "/both": as(({ touch, update }) => Effect.zip(touch, update(inc))) }
      const visit = browser(yield* serve(middlewareOf("stored", { idle: "10 seconds" }), own), short.jar)
      yield* visit("/both")
      assert.strictEqual(yield* read(visit("/expires")), "1970-01-01T00:00:15.000Z")
      // and one that is shorter now is kept to as well
      const shorter = browser(
        yield* serve(middlewareOf("stored", { idle: "1 second", absolute: "8 seconds" })),
        short.jar
      )
      assert.deepStrictEqual(yield* read(shorter("/all")), [0, true, null])
    }).pipe(memory), timeout)

  it.scoped("the dead cookie of an epoch that is over is not sent again", () =>
    Effect.gen(function*() {
      const visit = browser(yield* serve(middlewareOf("stored", { epochs: true })))
      yield* visit("/login")
      const store = yield* SessionStore.SessionStore
      // the store has failed to delete it
      yield* store.advanceEpoch("test/Counter:ada", { now: 0, expiresAt: 400 * 86_400_000 })
      yield* TestClock.adjust("3 days")
      const reply = yield* visit("/all")
      assert.deepStrictEqual([JSON.parse(reply.body), reply.cookies.length], [[0, true, null], 0])
    }).pipe(memory), timeout)
})

// ---------------------------------------------------------------------------------------------------------------------
// of a principal
// ---------------------------------------------------------------------------------------------------------------------

describe("the sessions of a principal", () => {
  const own = {
    "/bob": as(({ rotate }) => rotate({ principal: "bob" })),
    "/list": as(() => Counter.list("ada")),
    "/others": as(() => Counter.revokeOthers)
  }
  interface Shown {
    readonly id: string
    readonly value: { readonly value: { readonly n: number } }
    readonly createdAt: string
    readonly lastUsedAt: string
    readonly expiresAt: string
  }
  const setting = Effect.gen(function*() {
    const send = yield* serve(middlewareOf("stored"), own)
    const [phone, laptop, bob] = [browser(send), browser(send), browser(send)]
    yield* phone("/login")
    yield* TestClock.adjust("1 second")
    yield* laptop("/inc")
    yield* laptop("/login")
    yield* bob("/bob")
    return { phone, laptop, bob }
  })
  const isNew = (visit: Browser) => Effect.map(read(visit("/all")), (all) => (all as Array<unknown>)[1])

  it.scoped("are listed, the last used first", () =>
    Effect.gen(function*() {
      const { laptop, phone } = yield* setting
      const listed = (yield* read(phone("/list"))) as ReadonlyArray<Shown>
      assert.deepStrictEqual(listed.map(({ id }) => id), [yield* read(laptop("/id")), yield* read(phone("/id"))])
      const [first] = listed
      assert.deepStrictEqual([first?.value.value.n, first?.createdAt, first?.lastUsedAt, first?.expiresAt], [
        1,
        "1970-01-01T00:00:01.000Z",
        "1970-01-01T00:00:01.000Z",
        "1970-01-15T00:00:01.000Z"
      ])
    }).pipe(memory), timeout)

  it.scoped("are ended one by one, by their own principal alone", () =>
    Effect.gen(function*() {
      const { bob, laptop, phone } = yield* setting
      const id = String(yield* read(laptop("/id")))
      assert.isFalse(yield* Counter.revoke("bob", id))
      assert.isFalse(yield* Counter.revoke("ada", "A".repeat(43)))
      assert.isFalse(yield* isNew(laptop))
      assert.isTrue(yield* Counter.revoke("ada", id))
      assert.isFalse(yield* Counter.revoke("ada", id))
      assert.deepStrictEqual(yield* Effect.all([laptop, phone, bob].map(isNew)), [true, false, false])
    }).pipe(memory), timeout)

  it.scoped("are ended but for this one, or all of them", () =>
    Effect.gen(function*() {
      const { bob, laptop, phone } = yield* setting
      assert.strictEqual(yield* read(phone("/others")), 1)
      assert.deepStrictEqual(yield* Effect.all([laptop, phone, bob].map(isNew)), [true, false, false])
      assert.strictEqual(yield* read(bob("/others")), 0)
      assert.strictEqual(yield* read(laptop("/others")), 0)
      assert.strictEqual(yield* Counter.revokeAll("ada"), 1)
      assert.deepStrictEqual(yield* Effect.all([phone, bob].map(isNew)), [true, false])
    }).pipe(memory), timeout)

  it.scoped("of another tag are others", () =>
    Effect.gen(function*() {
      class Counter2 extends Session.Tag("test/Counter:ada")<Counter2>()(Count) {}
      const { phone } = yield* setting
      assert.lengthOf(yield* Counter2.list("ada"), 0)
      assert.strictEqual(yield* Counter2.revokeAll("ada"), 0)
      assert.isFalse(yield* isNew(phone))
    }).pipe(memory), timeout)
})

// ---------------------------------------------------------------------------------------------------------------------
// a store that is down
// ---------------------------------------------------------------------------------------------------------------------

describe("a store that is down", () => {
  const own = { "/others": as(() => Counter.revokeOthers), "/flash": as(({ flash }) => flash("hello")) }

  it.scoped.each<[path: string, known: boolean, refuse: number, allow: number]>([
    ["/none", true, 200, 200],
    ["/get", true, 503, 200],
    ["/inc", true, 503, 200],
    ["/flash", true, 503, 200],
    ["/touch", true, 503, 200],
    ["/login", true, 503, 200],
    ["/logout", true, 503, 200],
    // what has to end has not ended
    ["/destroy", true, 503, 503],
    ["/others", true, 503, 503],
    ["/get", false, 200, 200],
    ["/destroy", false, 200, 200],
    ["/inc", false, 503, 200],
    ["/login", false, 503, 200]
  ])("%s, with a session (%s): %i, or %i", ([path, known, refuse, allow]) => {
    let isDown = false
    const store = watched((operation) => isDown ? Effect.fail(down(operation)) : Effect.void)
    return Effect.gen(function*() {
      for (const [onUnavailable, status] of [["refuse", refuse], ["allow", allow]] as const) {
        isDown = false
        const seen = witness()
        const stack = stackOf(ServerErrors.middleware(), middlewareOf("stored", { onUnavailable }))
        const visit = browser(yield* Effect.provide(serve(stack, own), seen.layer))
        if (known) yield* visit("/login")
        const before = visit.cookie()
        isDown = true
        const reply = yield* visit(path)
        assert.strictEqual(reply.status, status, onUnavailable)
        assert.deepStrictEqual([reply.cookies.length, visit.cookie()], [0, before])
        yield* settled
        if (status === 503) {
          assert.strictEqual(reply.headers["retry-after"], "5")
          assert.lengthOf(seen.reported, 1)
          assert.include(seen.logged, failed)
        } else if (refuse === 503) {
          assert.isNotEmpty(seen.logged)
          assert.lengthOf(seen.reported, 0)
        }
        // and up again
        isDown = false
        assert.strictEqual((yield* visit("/inc")).status, 200)
        assert.deepStrictEqual(yield* read(visit("/all")), [1, false, known ? "ada" : null])
      }
    }).pipe(Effect.provide(store))
  })

  it.scoped.each<[operation: Operation, path: string]>([
    ["save", "/inc"],
    ["rotate", "/rotate"],
    ["rotate", "/login"]
  ])("one that can no longer %s, at %s", ([operation, path]) => {
    const store = watched((asked) => asked === operation ? Effect.fail(down(asked)) : Effect.void)
    return Effect.gen(function*() {
      for (const [onUnavailable, status] of [["refuse", 503], ["allow", 200]] as const) {
        const seen = witness()
        const middleware = middlewareOf("stored", { onUnavailable })
        const visit = browser(yield* Effect.provide(serve(middleware), seen.layer))
        yield* visit("/five")
        const reply = yield* visit(path)
        assert.deepStrictEqual([reply.status, reply.cookies.length], [status, 0])
        if (status === 200) assert.deepStrictEqual(seen.logged, ["ERROR What was written to a session is lost +"])
        assert.deepStrictEqual(yield* read(visit("/all")), [5, false, null])
      }
    }).pipe(Effect.provide(store))
  })

  it.scoped("fails save in the handler, whatever happens else", () =>
    Effect.gen(function*() {
      const own = { "/save": as(({ save, update }) => Effect.zipRight(update(inc), Effect.flip(save))) }
      for (const onUnavailable of ["refuse", "allow"] as const) {
        const visit = browser(yield* serve(middlewareOf("stored", { onUnavailable }), own))
        const { body, status } = yield* visit("/save")
        // what the handler has heard of is tried again with the response
        assert.deepStrictEqual(status, onUnavailable === "refuse" ? 503 : 200)
        if (status === 200) assert.deepInclude(JSON.parse(body), { _tag: "SessionUnavailable", operation: "create" })
      }
    }).pipe(Effect.provide(watched((operation) => Effect.fail(down(operation))))))

  it.scoped("with epochs lets a login pass where it may, of which nothing is kept", () => {
    let isDown = false
    const store = watched((operation) => isDown ? Effect.fail(down(operation)) : Effect.void)
    return Effect.gen(function*() {
      for (const kind of ["stored", "signed"] as const) {
        for (const [onUnavailable, status] of [["refuse", 503], ["allow", 200]] as const) {
          isDown = false
          const visit = browser(yield* serve(middlewareOf(kind, { epochs: true, onUnavailable })))
          yield* visit("/login")
          isDown = true
          assert.deepStrictEqual(
            yield* Effect.map(visit("/login"), (reply) => [reply.status, reply.cookies.length]),
            [status, 0],
            `${kind} ${onUnavailable}`
          )
        }
      }
    }).pipe(Effect.provide(store))
  })

  it.scoped("and hangs is given up by its own limit, in platform's uninterruptible server", () =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<void>()
      const hanging = watched((operation) =>
        Effect.zipRight(Deferred.succeed(asked, undefined), Effect.never).pipe(
          Effect.timeoutFail({ duration: "250 millis", onTimeout: () => down(operation) })
        )
      )
      for (const [path, cookies] of [["/get", true], ["/inc", false], ["/destroy", true]] as const) {
        yield* Effect.gen(function*() {
          const visit = browser(
            yield* serve(middlewareOf("stored"), {}, node),
            cookies ? [["__Host-session", "a".repeat(43)]] : []
          )
          const fiber = yield* Effect.fork(visit(path))
          yield* Deferred.await(asked)
          yield* settled
          yield* TestClock.adjust("250 millis")
          assert.strictEqual((yield* Fiber.join(fiber)).status, 503, path)
        }).pipe(Effect.provide(hanging))
      }
    }))
})
