import { FileSystem, HttpApiSchema, HttpServerResponse } from "@effect/platform"
import { SystemError } from "@effect/platform/Error"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, Ref, Schema, TestClock } from "effect"
import { ExceptionHandlers, Forwarded, IpRestriction, Middleware, Stack } from "effect-middleware"
import { listenTo, mounts, request, send } from "./utils/TestApp.js"

const decide = (lists: IpRestriction.Lists, address: string | undefined) => IpRestriction.policy(lists)(address)

describe("policy", () => {
  it.each<[rule: string, lists: IpRestriction.Lists, address: string | undefined, expected: IpRestriction.Decision]>([
    ["who is in allow passes", { allow: ["192.0.2.1"] }, "192.0.2.1", "allow"],
    ["who is not does not", { allow: ["192.0.2.1"] }, "192.0.2.2", "unlisted"],
    ["who is in deny does not", { deny: ["192.0.2.1"] }, "192.0.2.1", "denied"],
    ["who is not passes", { deny: ["192.0.2.1"] }, "192.0.2.2", "allow"],
    ["an empty deny keeps nobody out", { deny: [] }, "192.0.2.2", "allow"],
    ["deny wins in a wider allow", { allow: ["10.0.0.0/8"], deny: ["10.0.0.1"] }, "10.0.0.1", "denied"],
    ["deny wins around a narrower allow", { allow: ["10.0.0.1"], deny: ["10.0.0.0/8"] }, "10.0.0.1", "denied"],
    ["deny wins over the same", { allow: ["10.0.0.1"], deny: ["10.0.0.1"] }, "10.0.0.1", "denied"],
    ["between both", { allow: ["10.0.0.0/8"], deny: ["10.0.0.1"] }, "10.0.0.2", "allow"],
    ["no address", { deny: ["10.0.0.1"] }, undefined, "unknown"],
    ["a name for ranges", { allow: ["loopback"] }, "127.9.9.9", "allow"],
    ["and its IPv6", { allow: ["loopback"] }, "::1", "allow"],
    ["private", { allow: ["private"] }, "172.31.0.1", "allow"],
    ["not private", { allow: ["private"] }, "172.32.0.1", "unlisted"],
    // Hono 48fa2233, CVE-2026-47674, GHSA-r354-f388-2fhh
    ["IPv6 that is not canonical", { deny: ["::1"] }, "0:0:0:0:0:0:0:1", "denied"],
    ["with leading zeros", { deny: ["2001:db8::1"] }, "2001:0DB8:0000::0001", "denied"],
    ["in the list", { deny: ["2001:0DB8:0000::0001"] }, "2001:db8::1", "denied"],
    ["a mapped address", { deny: ["192.0.2.1"] }, "::ffff:192.0.2.1", "denied"],
    ["in hexadecimal", { deny: ["192.0.2.1"] }, "::ffff:c000:201", "denied"],
    ["written out", { deny: ["192.0.2.1"] }, "0:0:0:0:0:FFFF:c000:0201", "denied"],
    ["in the list", { deny: ["::ffff:192.0.2.0/120"] }, "192.0.2.200", "denied"],
    ["an IPv4 address is in no IPv6 range", { allow: ["::/0"] }, "192.0.2.1", "unlisted"],
    ["an octet above 255", { deny: ["192.0.2.1"] }, "1.2.3.999", "malformed"],
    ["three octets", { deny: ["192.0.2.1"] }, "1.2.3", "malformed"],
    ["an octal one", { deny: ["192.0.2.1"] }, "0300.0.2.1", "malformed"],
    ["a port", { deny: ["192.0.2.1"] }, "192.0.2.1:80", "malformed"],
    ["a zone", { deny: ["192.0.2.1"] }, "fe80::1%eth0", "malformed"],
    ["nothing", { deny: ["192.0.2.1"] }, "", "malformed"]
  ])("%s", (_, lists, address, expected) => {
    assert.strictEqual(decide(lists, address), expected)
  })

  it.each<[mistake: string, lists: IpRestriction.Lists, message: RegExp]>([
    ["no list", {}, /neither allow nor deny: write one, or leave the middleware out/],
    ["an empty allow", { allow: [], deny: ["10.0.0.1"] }, /allow is empty and lets nobody in: list who may/],
    ["no range in allow", { allow: ["10.0.0.256"] }, /IpRestriction: allow has "10\.0\.0\.256": write an address/],
    ["no range in deny", { deny: ["localhost"] }, /IpRestriction: deny has "localhost": write an address/],
    ["bits after the prefix", { deny: ["10.0.0.1/8"] }, /zero after its prefix/],
    ["a prefix that is too long", { deny: ["10.0.0.0/33"] }, /write an address/]
  ])("throws on %s, and says what to write", (_, lists, message) => {
    assert.throws(() => IpRestriction.policy(lists), TypeError, message)
    assert.throws(() => IpRestriction.middleware({ ...lists }), TypeError, message)
  })
})

const ok = HttpServerResponse.text("ok")
/** The client is who `x-forwarded-for` says. */
const behind = Forwarded.middleware({ trust: { hops: 1 } })
const from = (address: string) => ({ headers: { "x-forwarded-for": address } })
const restricted = IpRestriction.middleware({ allow: ["192.0.2.0/24", "2001:db8::/32"], deny: ["192.0.2.13"] })
const stack = Stack.make(behind, restricted)

describe("middleware", () => {
  describe.each(mounts)("$name", ({ mount }) => {
    it.scoped("lets in and keeps out", () =>
      Effect.gen(function*() {
        const request = yield* mount(ok, stack)
        assert.strictEqual((yield* request(from("192.0.2.1"))).body, "ok")
        assert.strictEqual((yield* request(from("2001:DB8:0::1"))).body, "ok")
        for (const address of ["192.0.2.13", "::ffff:192.0.2.13", "198.51.100.1", "2001:db9::1"]) {
          const { body, headers, status } = yield* request(from(address))
          assert.deepStrictEqual([address, status, headers["content-type"]], [address, 403, "application/problem+json"])
          assert.deepStrictEqual(JSON.parse(body), {
            title: "Forbidden",
            status: 403,
            detail: "This address is not allowed here"
          })
        }
      }))
  })

  it.effect("refuses without running the app", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* send(stack(Effect.dieMessage("the app ran")), from("192.0.2.13"))).status, 403)
    }))

  it.effect("keeps out who has no address, unless said otherwise", () =>
    Effect.gen(function*() {
      const nobody = (unknown?: "refuse" | "allow") =>
        Stack.make(
          Forwarded.middleware({ trust: "none" }),
          IpRestriction.middleware({ deny: ["192.0.2.1"], unknown })
        )
      // a web handler knows no address
      assert.strictEqual((yield* send(nobody()(ok))).status, 403)
      assert.strictEqual((yield* send(nobody("refuse")(ok))).status, 403)
      assert.strictEqual((yield* send(nobody("allow")(ok))).status, 200)
    }))

  it.effect("never lets in what is no address", () =>
    Effect.gen(function*() {
      const client = Middleware.provide(
        Forwarded.Client,
        Effect.succeed({ address: "1.2.3.999" } as typeof Forwarded.Client.Service)
      )
      const open = IpRestriction.middleware({ deny: ["192.0.2.1"], unknown: "allow" })
      assert.strictEqual((yield* send(Stack.make(client, open)(ok))).status, 403)
    }))

  it.scoped("takes the address of the connection, and no header's", () =>
    Effect.gen(function*() {
      const direct = (lists: IpRestriction.Lists) =>
        listenTo(Stack.make(Forwarded.middleware({ trust: "none" }), IpRestriction.middleware({ ...lists }))(ok))
      const headers = { "x-forwarded-for": "192.0.2.1", "x-real-ip": "192.0.2.1", forwarded: "for=192.0.2.1" }
      const denied = yield* direct({ deny: ["loopback"] })
      assert.strictEqual((yield* request(denied, { headers })).status, 403)
      const allowed = yield* direct({ allow: ["127.0.0.0/8"] })
      assert.strictEqual((yield* request(allowed, { headers })).status, 200)
    }))

  it.effect("a refusal is a failure to handle, and knows why", () =>
    Effect.gen(function*() {
      const handled = Stack.make(
        ExceptionHandlers.byTag({
          AddressNotAllowed: (error: IpRestriction.AddressNotAllowed) => HttpServerResponse.text(error.message)
        }),
        stack
      )
      const said = (address: string) => Effect.map(send(handled(ok), from(address)), ({ body }) => body)
      assert.strictEqual(yield* said("192.0.2.13"), "The address of the client is denied")
      assert.strictEqual(yield* said("198.51.100.1"), "The address of the client is unlisted")
      assert.strictEqual(yield* said("unknown"), "The address of the client is unknown")
    }))

  it("a refusal has a schema, and no address", () => {
    const error = new IpRestriction.AddressNotAllowed({ reason: "malformed" })
    assert.deepStrictEqual(Schema.encodeSync(IpRestriction.AddressNotAllowed)(error), {
      _tag: "AddressNotAllowed",
      reason: "malformed"
    })
    assert.strictEqual(IpRestriction.AddressNotAllowed.identifier, "effect-middleware/IpRestriction/AddressNotAllowed")
    assert.strictEqual(HttpApiSchema.getStatusError(IpRestriction.AddressNotAllowed), 403)
  })

  it("has the name that it is given", () => {
    assert.strictEqual(restricted.name, "IpRestriction")
    assert.strictEqual(IpRestriction.middleware({ deny: [], name: "Office" }).name, "Office")
    assert.strictEqual(IpRestriction.middleware({ lists: Blocked, name: "Blocked" }).name, "Blocked")
  })

  it("throws on options that say two things, or none", () => {
    const both = { lists: Blocked, deny: ["192.0.2.1"] } as unknown as IpRestriction.Options
    assert.throws(() => IpRestriction.middleware(both), TypeError, /lists stands beside allow or deny/)
    const other = { deny: [], unknown: "maybe" } as unknown as IpRestriction.Options
    assert.throws(() => IpRestriction.middleware(other), TypeError, /unknown is "maybe": write "refuse" or "allow"/)
  })
})

class Blocked extends IpRestriction.Tag("test/Blocked")<Blocked>() {}
class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", {}) {}

describe("lists of a layer", () => {
  const guarded = Stack.make(behind, IpRestriction.middleware({ lists: Blocked }))
  const status = (address: string) =>
    Effect.flatMap(Blocked, (lists) =>
      Effect.map(
        send(Effect.provideService(guarded(ok), Blocked, lists), from(address)),
        ({ status }) => status
      ))
  /** What the log is told meanwhile. */
  const logged = (lines: Array<string>) =>
    Logger.replace(Logger.defaultLogger, Logger.make(({ cause, message }) => lines.push(`${String(message)} ${cause}`)))

  it.effect("that stay", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Effect.all([status("192.0.2.1"), status("192.0.2.2")]), [403, 200])
      assert.isTrue(yield* Effect.flatMap(Blocked, ({ reload }) => reload))
    }).pipe(Effect.provide(Blocked.layer({ deny: ["192.0.2.1"] }))))

  it("that are none throw", () => {
    assert.throws(() => Blocked.layer({}), TypeError, /neither allow nor deny/)
  })

  it.effect("two tags are two lists", () => {
    class Office extends IpRestriction.Tag("test/Office")<Office>() {}
    return Effect.gen(function*() {
      const [blocked, office] = yield* Effect.all([Blocked, Office])
      assert.strictEqual(blocked.decide("192.0.2.1"), "denied")
      assert.strictEqual(office.decide("192.0.2.1"), "allow")
    }).pipe(
      Effect.provide(Layer.merge(Blocked.layer({ deny: ["192.0.2.1"] }), Office.layer({ allow: ["192.0.2.1"] })))
    )
  })

  it.effect("are loaded anew each time, and the last good ones stay when that fails", () => {
    const lines: Array<string> = []
    const good = (...deny: ReadonlyArray<string>): Effect.Effect<IpRestriction.Lists, Unreachable> =>
      Effect.succeed({ deny })
    return Effect.gen(function*() {
      const source = yield* Ref.make(good("192.0.2.1"))
      let loads = 0
      const layer = Blocked.layerReloading(
        Effect.suspend(() => {
          loads++
          return Effect.flatten(Ref.get(source))
        }),
        { every: "1 minute" }
      )
      yield* Effect.gen(function*() {
        const both = Effect.all([status("192.0.2.1"), status("192.0.2.2")])
        assert.deepStrictEqual(yield* both, [403, 200])
        yield* Ref.set(source, good("192.0.2.2"))
        yield* TestClock.adjust("59 seconds")
        assert.deepStrictEqual([yield* both, loads], [[403, 200], 1])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual([yield* both, loads], [[200, 403], 2])
        assert.deepStrictEqual(lines, [])

        for (
          const [bad, says] of [
            [Effect.fail(new Unreachable()), /test\/Blocked could not be loaded; .* Unreachable/],
            [good("192.0.2.999"), /ListsInvalid: IpRestriction: deny has "192\.0\.2\.999"/],
            [Effect.succeed({ allow: [] }), /ListsInvalid: IpRestriction: allow is empty/],
            [Effect.succeed({}), /neither allow nor deny/],
            [Effect.dieMessage("a mistake"), /a mistake/]
          ] as const
        ) {
          yield* Ref.set(source, bad)
          yield* TestClock.adjust("1 minute")
          assert.match(lines.splice(0).join("\n"), says)
          assert.deepStrictEqual(yield* both, [200, 403])
        }
        yield* Ref.set(source, good())
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual([yield* both, loads], [[200, 200], 8])
      }).pipe(Effect.provide(layer))
      // the layer has been released
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(loads, 8)
    }).pipe(Effect.provide(logged(lines)))
  })

  it.effect("are loaded when that is asked for, one after another", () => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      let [loads, running, most] = [0, 0, 0]
      const load = Effect.gen(function*() {
        most = Math.max(most, ++running)
        yield* Effect.sleep("1 second")
        running--
        if (++loads === 3) return yield* new Unreachable()
        return { deny: [`192.0.2.${loads}`] }
      })
      const building = yield* Effect.fork(Layer.build(Blocked.layerReloading(load)))
      yield* TestClock.adjust("1 second")
      const lists = yield* Effect.provide(Blocked, yield* Fiber.join(building))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(loads, 1)
      const reloads = yield* Effect.fork(Effect.all([lists.reload, lists.reload], { concurrency: "unbounded" }))
      yield* TestClock.adjust("500 millis")
      // until all of the new ones are there, the old ones hold
      assert.strictEqual(lists.decide("192.0.2.1"), "denied")
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* Fiber.join(reloads), [true, false])
      assert.deepStrictEqual([lists.decide("192.0.2.1"), lists.decide("192.0.2.2"), most], ["allow", "denied", 1])
      assert.strictEqual(lines.length, 1)
    }).pipe(Effect.scoped, Effect.provide(logged(lines)))
  })

  it.effect("that are none at first are a failure of the layer", () =>
    Effect.gen(function*() {
      const start = <E>(load: Effect.Effect<IpRestriction.Lists, E>) =>
        Effect.flip(Effect.scoped(Layer.build(Blocked.layerReloading(load, { every: "1 minute" }))))
      assert.instanceOf(yield* start(new Unreachable()), Unreachable)
      const invalid = yield* start(Effect.succeed({ deny: ["x"] }))
      assert.instanceOf(invalid, IpRestriction.ListsInvalid)
      assert.match(invalid.message, /IpRestriction: deny has "x"/)
    }))

  describe("of files", () => {
    const files = new Map<string, string>()
    const fileSystem = FileSystem.layerNoop({
      readFileString: (path) => {
        const text = files.get(path)
        return text === undefined
          ? Effect.fail(new SystemError({ module: "FileSystem", method: "readFileString", reason: "NotFound" }))
          : Effect.succeed(text)
      }
    })

    it.effect("have an entry a line, and comments", () => {
      files.set("allow", "# who is in the office\n192.0.2.0/24\r\n\n  2001:db8::/32  # by IPv6\nloopback")
      files.set("deny", "192.0.2.13#gone\n")
      return Effect.gen(function*() {
        const { decide, reload } = yield* Blocked
        const all = () => ["192.0.2.1", "2001:db8::1", "127.0.0.1", "192.0.2.13", "198.51.100.1"].map(decide)
        assert.deepStrictEqual(all(), ["allow", "allow", "allow", "denied", "unlisted"])
        files.set("deny", "")
        assert.isTrue(yield* reload)
        assert.strictEqual(decide("192.0.2.13"), "allow")
        // a file that is being written is as good as none
        files.set("allow", "")
        assert.isFalse(yield* reload)
        files.delete("allow")
        assert.isFalse(yield* reload)
        assert.deepStrictEqual(all(), ["allow", "allow", "allow", "allow", "unlisted"])
      }).pipe(
        Effect.provide(Blocked.layerFile({ allow: "allow", deny: "deny" })),
        Effect.provide(Layer.merge(fileSystem, logged([])))
      )
    })

    it.effect("that are not there are a failure of the layer", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(Blocked.layerFile({ deny: "nowhere" }))))
        assert.isTrue(Exit.isFailure(exit))
        assert.include(JSON.stringify(exit), "NotFound")
      }).pipe(Effect.provide(fileSystem)))

    it.effect("with one that is no range say which", () => {
      files.set("bad", "192.0.2.1\n192.0.2.999\n")
      return Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Blocked.layerFile({ deny: "bad" }))))
        assert.include(error.message, "deny has \"192.0.2.999\"")
      }).pipe(Effect.provide(fileSystem))
    })
  })
})
