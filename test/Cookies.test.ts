import type { Cookies as Platform } from "@effect/platform"
import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Data, Duration, Effect, Layer, Logger, Schema, TestClock } from "effect"
import { Cookies, Middleware, Session, SessionStore, Stack } from "effect-middleware"
import { mounts, send } from "./utils/TestApp.js"

class Broken extends Data.TaggedError("Broken")<{}> {}

type Given = NonNullable<Platform.Cookie["options"]>
const good = { secure: true, httpOnly: true, sameSite: "lax" } as const satisfies Given

describe("policy", () => {
  const facts = { now: 0, host: "example.com" }
  const day = 86_400_000

  it.each<[rule: string, options: Cookies.Options, name: string, given: Given | undefined, left: Given | undefined]>([
    ["all that it needs", {}, "a", undefined, good],
    ["what is there stays", {}, "a", { domain: "example.com", path: "/a", priority: "high" }, {
      ...good,
      domain: "example.com",
      path: "/a",
      priority: "high"
    }],
    ["false is not there", {}, "a", { secure: false, httpOnly: false }, good],
    ["scripts read it", { httpOnly: { except: ["a"] } }, "a", undefined, { secure: true, sameSite: "lax" }],
    ["and no other", { httpOnly: { except: ["a"] } }, "A", undefined, good],
    ["HttpOnly is no matter", { httpOnly: false }, "a", undefined, { secure: true, sameSite: "lax" }],
    ["SameSite=None is raised", {}, "a", { sameSite: "none" }, good],
    ["SameSite=Strict stays", {}, "a", { sameSite: "strict" }, { ...good, sameSite: "strict" }],
    ["SameSite=Lax is raised", { sameSite: "strict" }, "a", { sameSite: "lax" }, { ...good, sameSite: "strict" }],
    ["no SameSite asked for", { sameSite: "none" }, "a", undefined, { secure: true, httpOnly: true }],
    ["but for another", { sameSite: { atLeast: "lax", except: ["a"] } }, "a", { sameSite: "none" }, {
      ...good,
      sameSite: "none"
    }],
    ["and no other", { sameSite: { atLeast: "lax", except: ["a"] } }, "b", { sameSite: "none" }, good],
    ["no Secure", { secure: false }, "a", undefined, { httpOnly: true, sameSite: "lax" }],
    ["None has Secure", { secure: false, sameSite: "none" }, "a", { sameSite: "none" }, { ...good, sameSite: "none" }],
    ["Partitioned has Secure", { secure: false }, "a", { partitioned: true }, { ...good, partitioned: true }],
    ["Partitioned, of None", { sameSite: "none", partitioned: true }, "a", { sameSite: "none" }, {
      ...good,
      sameSite: "none",
      partitioned: true
    }],
    ["and of no other", { sameSite: "none", partitioned: true }, "a", good, good],
    ["__Secure- has Secure", { secure: false }, "__Secure-a", undefined, good],
    ["in any case", { secure: false }, "__sEcUre-a", undefined, good],
    ["__Host- has Secure and a path", { secure: false }, "__Host-a", undefined, { ...good, path: "/" }],
    ["__Host- has no Domain", {}, "__Host-a", { domain: "example.com", path: "/" }, undefined],
    ["in any case", {}, "__HOST-a", { domain: "example.com", path: "/" }, undefined],
    ["__Host- has no other path", {}, "__Host-a", { path: "/a" }, undefined],
    ["__Http- has both", { secure: false, httpOnly: false }, "__Http-a", undefined, good],
    ["__Host-Http- has HttpOnly", { httpOnly: false }, "__Host-Http-a", undefined, { ...good, path: "/" }],
    ["a name is no token", {}, "a; Domain", undefined, undefined],
    ["a name is a value", {}, "=__Host-a", undefined, undefined],
    ["a name has blanks", {}, " __Host-a", undefined, undefined],
    ["400 days", {}, "a", { maxAge: "400 days" }, { ...good, maxAge: "400 days" }],
    ["and no more", {}, "a", { maxAge: "401 days" }, { ...good, maxAge: Duration.days(400) }],
    ["until then", {}, "a", { expires: new Date(400 * day) }, { ...good, expires: new Date(400 * day) }],
    ["and no longer", {}, "a", { expires: new Date(400 * day + 1) }, { ...good, expires: new Date(400 * day) }],
    ["deleted", {}, "a", { maxAge: 0, expires: new Date(0) }, { ...good, maxAge: 0, expires: new Date(0) }]
  ])("%s: %o %s %o", (_, options, name, given, left) => {
    const verdict = Cookies.policy(options)({ name, options: given }, facts)
    assert.deepStrictEqual(verdict.options, left)
    if (left === undefined) return assert.strictEqual(verdict.violations.length, 1)
    // what has been mended keeps to the rules
    assert.deepStrictEqual(Cookies.policy(options)({ name, options: left }, facts), { options: left, violations: [] })
  })

  it.each<[host: string | undefined, options: Cookies.Options, name: string, secure: true | undefined]>([
    ["localhost:3000", { localhost: true }, "a", undefined],
    ["127.0.0.1", { localhost: true }, "a", undefined],
    ["localhost:3000", { localhost: true }, "__Host-a", true],
    ["localhost:3000", {}, "a", true],
    ["example.com", { localhost: true }, "a", true],
    [undefined, { localhost: true }, "a", true]
  ])("%s, %o, %s -> %s", (host, options, name, secure) => {
    assert.strictEqual(Cookies.policy(options)({ name }, { now: 0, host }).options?.secure, secure)
  })

  it.each<[rule: string, options: unknown, message: RegExp]>([
    ["no name", { httpOnly: { except: ["a b"] } }, /^Cookies: httpOnly\.except: "a b" is no name of a cookie/],
    ["no name", { sameSite: { atLeast: "lax", except: [""] } }, /sameSite\.except: "" is no name/],
    ["no SameSite", { sameSite: "Lax" }, /sameSite is "Lax": write "lax"/],
    ["none to be Partitioned", { partitioned: true }, /name them in sameSite\.except/],
    ["no such way", { onViolation: "warn" }, /onViolation is "warn": write "upgrade"/]
  ])("%s: %o", (_, options, message) => {
    assert.throws(() => Cookies.middleware(options as Cookies.Options), message)
  })
})

describe("middleware", () => {
  const ok = HttpServerResponse.text("ok")
  const withCookie = HttpServerResponse.unsafeSetCookie(ok, "a", "1 2")
  const logged = () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${message}`))
    return { lines, layer: Logger.replace(Logger.defaultLogger, logger) }
  }
  const cookiesOf = (response: HttpServerResponse.HttpServerResponse, options: Cookies.Options = {}) =>
    Effect.map(send(Cookies.middleware(options)(Effect.succeed(response))), (reply) => reply.cookies)
  const attributes = "; HttpOnly; Secure; SameSite=Lax"

  describe.each(mounts)("$name", ({ mount }) => {
    const sets = Middleware.make({ name: "Sets", response: (draft) => draft.setCookie("b", "2") })
    it.scoped("acts on success, failure and defect, on what others have set", () =>
      Effect.gen(function*() {
        for (const app of [Effect.succeed(withCookie), Effect.fail(new Broken()), Effect.die("a defect")]) {
          const request = yield* mount(app, Stack.make(Cookies.middleware(), sets))
          const { cookies } = yield* request()
          assert.strictEqual(cookies.at(-1), `b=2${attributes}`)
          assert.isTrue(cookies.every((cookie) => cookie.endsWith(attributes)))
        }
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))
  })

  it.effect.each<[text: string, left: ReadonlyArray<string>]>([
    ["raw=1", [`raw=1${attributes}`]],
    ["raw=%zz; Path=/x; samesite=none", [`raw=%zz; Path=/x${attributes}`]],
    ["raw=1; Max-Age=99999999", [`raw=1; Max-Age=34560000${attributes}`]],
    ["raw=; Max-Age=-1", [`raw=; Max-Age=0${attributes}`]],
    ["a=1; Path=/a", [`a=1; Path=/a${attributes}`]],
    ["__Host-a=1; Path=/; Domain=example.com", []],
    ["=__Host-a=1", []],
    ["none", []]
  ])("a field that was set as text: %s", ([text, left]) =>
    Effect.gen(function*() {
      const response = HttpServerResponse.setHeader(withCookie, "set-cookie", text)
      assert.deepStrictEqual(yield* cookiesOf(response), [`a=1%202${attributes}`, ...left])
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))

  it.effect("what keeps to the rules is left as it is", () =>
    Effect.gen(function*() {
      const response = HttpServerResponse.unsafeSetCookie(ok, "a", "1", good)
      for (const onViolation of ["upgrade", "drop", "refuse"] as const) {
        assert.deepStrictEqual(yield* cookiesOf(response, { onViolation }), [`a=1${attributes}`])
      }
    }))

  it.effect("a field leaves as what was read of it, also where that keeps to the rules", () =>
    Effect.gen(function*() {
      const text = "raw=1; secure; httponly; samesite=lax; samesite=other"
      assert.deepStrictEqual(yield* cookiesOf(HttpServerResponse.setHeader(ok, "set-cookie", text)), [
        `raw=1${attributes}`
      ])
    }))

  it.effect("a cookie is deleted", () =>
    Effect.gen(function*() {
      const response = HttpServerResponse.unsafeSetCookie(ok, "a", "", { maxAge: 0, path: "/" })
      assert.deepStrictEqual(yield* cookiesOf(response), [`a=; Max-Age=0; Path=/${attributes}`])
    }))

  it.effect("Expires goes by the clock", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.UTC(2030, 0, 1))
      const response = HttpServerResponse.unsafeSetCookie(ok, "a", "1", { expires: new Date(Date.UTC(2040, 0, 1)) })
      assert.match((yield* cookiesOf(response))[0] ?? "", /Expires=Wed, 05 Feb 2031 00:00:00 GMT/)
    }))

  it.effect("drop: it does not leave, the others do, and the log is told once", () =>
    Effect.gen(function*() {
      const { layer, lines } = logged()
      const app = Cookies.middleware({ onViolation: "drop" })(
        Effect.succeed(HttpServerResponse.unsafeSetCookie(withCookie, "b", "2", good))
      )
      yield* Effect.gen(function*() {
        for (let i = 0; i < 2; i++) assert.deepStrictEqual((yield* send(app)).cookies, [`b=2${attributes}`])
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(lines, [
        "WARN Cookies: \"a\" does not leave: it needs HttpOnly, it needs SameSite=lax, it needs Secure"
      ])
    }))

  it.effect("upgrade: what cannot be mended does not leave, and the log is told once", () =>
    Effect.gen(function*() {
      const { layer, lines } = logged()
      const app = Cookies.middleware()(
        Effect.succeed(HttpServerResponse.unsafeSetCookie(ok, "__Host-a", "2", { ...good, domain: "example.com" }))
      )
      yield* Effect.gen(function*() {
        for (let i = 0; i < 2; i++) assert.deepStrictEqual((yield* send(app)).cookies, [])
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(lines, ["WARN Cookies: \"__Host-a\" does not leave: \"__Host-\" has no Domain"])
    }))

  it.effect("refuse: 500, without the cookie, however it was set", () =>
    Effect.gen(function*() {
      const mend = Cookies.middleware({ onViolation: "refuse" })
      for (const response of [withCookie, HttpServerResponse.setHeader(ok, "set-cookie", "none")]) {
        const reply = yield* send(mend(Effect.succeed(response)))
        assert.deepStrictEqual([reply.status, reply.cookies], [500, []])
        assert.strictEqual(reply.headers["content-type"], "application/problem+json")
      }
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))

  it.scoped("the cookie of a session keeps to the rules, and to what is asked beyond", () =>
    Effect.gen(function*() {
      class Cart extends Session.Tag("test/Cart")<Cart>()(
        Schema.Struct({ items: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
      ) {}
      const session = Cart.middleware({ kind: "stored" })
      const add = Effect.zipRight(
        Effect.flatMap(Cart, (cart) => cart.update(({ items }) => ({ items: items + 1 }))),
        ok
      )
      const end = Effect.zipRight(Effect.flatMap(Cart, (cart) => cart.destroy), ok)
      const context = yield* Layer.build(SessionStore.layerMemory())
      const served = (app: typeof add | typeof end, options: Cookies.Options, headers: Record<string, string> = {}) =>
        send(Effect.provide(Stack.make(Cookies.middleware(options), session)(app), context), { headers })
      const first = yield* served(add, { onViolation: "refuse" })
      assert.strictEqual(first.status, 200)
      assert.match(first.cookies.join(), /^__Host-[^,]*Path=\/[^,]*; HttpOnly; Secure; SameSite=Lax$/)
      const cookie = (first.cookies[0] ?? "").split(";")[0] ?? ""
      const last = yield* served(end, { sameSite: "strict" }, { cookie })
      assert.match(last.cookies.join(), /^__Host-[^,]*=; Max-Age=0; Path=\/; HttpOnly; Secure; SameSite=Strict$/)
    }))
})
