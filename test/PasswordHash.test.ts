import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Duration, Effect, Fiber, Layer, Logger, Option, Redacted, Ref, TestClock } from "effect"
import { Authentication, Entropy, PasswordHash, RequestId, Stack } from "effect-middleware"
import * as Argon2 from "effect-middleware/PasswordHash/Argon2"
import * as Contract from "./contracts/PasswordHashContract.js"
import { listen, request } from "./utils/TestApp.js"

const text = Redacted.make<string>
const b64 = (hex: string) => Buffer.from(hex, "hex").toString("base64").replace(/=+$/, "")

const salt = "YWFhYWFhYWFhYWFhYWFhYQ"
const tag = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"

Contract.suite("scrypt", {
  layer: (limits) => PasswordHash.layerScrypt({ N: 1024, ...limits }),
  weaker: PasswordHash.layerScrypt({ N: 512 }),
  syntax: /^\$scrypt\$ln=10,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/,
  // RFC 7914 section 12
  known: [
    [
      `$scrypt$ln=4,r=1,p=1$$${
        b64(
          "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906"
        )
      }`,
      ""
    ],
    [
      `$scrypt$ln=10,r=8,p=16$TmFDbA$${
        b64(
          "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
        )
      }`,
      "password"
    ],
    [
      `$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$${
        b64(
          "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
        )
      }`,
      "pleaseletmein"
    ]
  ],
  unknown: [
    `$argon2id$v=19$m=256,t=2,p=1$${salt}$${tag}`,
    `$scrypt$ln=0,r=8,p=1$${salt}$${tag}`,
    `$scrypt$ln=010,r=8,p=1$${salt}$${tag}`,
    `$scrypt$ln=100,r=8,p=1$${salt}$${tag}`,
    `$scrypt$ln=10,r=0,p=1$${salt}$${tag}`,
    `$scrypt$ln=10,r=8,p=0$${salt}$${tag}`,
    `$scrypt$ln=10,r=8,p=-1$${salt}$${tag}`,
    `$scrypt$ln=10,p=1,r=8$${salt}$${tag}`,
    `$scrypt$ln=10,r=8$${salt}$${tag}`,
    // N has to be less than 2^(16 * r)
    `$scrypt$ln=16,r=1,p=1$${salt}$${tag}`,
    // a tag that one password in 2^32 has
    `$scrypt$ln=10,r=8,p=1$${salt}$AAAAAA`,
    // bits that mean nothing, and another alphabet
    `$scrypt$ln=10,r=8,p=1$${salt.slice(0, -1)}R$${tag}`,
    `$scrypt$ln=10,r=8,p=1$${salt}$${tag.replace("/", "_")}`,
    `$scrypt$ln=10,r=8,p=1$${salt}$${"A".repeat(1_000_000)}`
  ],
  excessive: [
    // the last vector of the RFC: a gibibyte
    `$scrypt$ln=20,r=8,p=1$U29kaXVtQ2hsb3JpZGU$${
      b64(
        "2101cb9b6a511aaeaddbbe09cf70f881ec568d574a2ffd4dabe5ee9820adaa478e56fd8f4ba5d09ffa1c6d927c40f4c337304049e8a952fbcbf45c6fa77a41a4"
      )
    }`,
    `$scrypt$ln=18,r=8,p=1$${salt}$${tag}`,
    `$scrypt$ln=17,r=8,p=5$${salt}$${tag}`,
    `$scrypt$ln=99,r=999999999,p=999999999$${salt}$${tag}`,
    `$scrypt$ln=1,r=999999999,p=1$${salt}$${tag}`,
    `$scrypt$ln=1,r=1,p=999999999$${salt}$${tag}`,
    // little to go over, and blocks for all of it
    `$scrypt$ln=1,r=1,p=1000000$${salt}$${tag}`
  ]
})

describe("layerScrypt", () => {
  it.effect("has the parameters that OWASP asks for", () =>
    Effect.gen(function*() {
      const { decoy, hash, verify } = yield* PasswordHash.PasswordHash
      const stored = yield* hash(text("a"))
      assert.match(stored, /^\$scrypt\$ln=17,r=8,p=1\$/)
      assert.strictEqual(stored.length, decoy.length)
      assert.isTrue(yield* verify(text("a"), stored))
    }).pipe(Effect.provide(PasswordHash.layerScrypt())))

  it.effect("wants anew what differs in any of its parameters", () =>
    Effect.gen(function*() {
      const { needsRehash } = yield* PasswordHash.PasswordHash
      const hash = (parameters: string, bytes = tag) => needsRehash(`$scrypt$${parameters}$${salt}$${bytes}`)
      assert.isFalse(hash("ln=10,r=8,p=1"))
      for (const parameters of ["ln=11,r=8,p=1", "ln=9,r=8,p=1", "ln=10,r=9,p=1", "ln=10,r=8,p=2"]) {
        assert.isTrue(hash(parameters), parameters)
      }
      assert.isTrue(hash("ln=10,r=8,p=1", b64("00".repeat(64))))
    }).pipe(Effect.provide(PasswordHash.layerScrypt({ N: 1024 }))))

  it.effect("lower parameters still verify what the default ones have hashed", () =>
    Effect.gen(function*() {
      const { verify } = yield* PasswordHash.PasswordHash
      assert.isFalse(yield* verify(text("a"), `$scrypt$ln=17,r=8,p=1$${salt}$${tag}`))
    }).pipe(Effect.provide(PasswordHash.layerScrypt({ N: 2 }))))

  it.each<[PasswordHash.ScryptOptions, RegExp]>([
    [{ N: 1000 }, /PasswordHash\.layerScrypt: N is 1000: write a power of two/],
    [{ N: 1 }, /N is 1:/],
    [{ N: 0 }, /N is 0:/],
    [{ N: 2 ** 25 }, /N is 33554432:/],
    [{ N: 2 ** 16, r: 1 }, /N is 2 \*\* 16, and r is 1: write r: 8/],
    [{ r: 0 }, /r is 0: write a whole number from 1 to 64/],
    [{ r: 65 }, /r is 65/],
    [{ p: 0.5 }, /p is 0.5/],
    [{ p: 65 }, /p is 65/],
    [{ concurrency: 0 }, /PasswordHash: concurrency is 0: write a whole number from 1/],
    [{ maxQueued: -1 }, /PasswordHash: maxQueued is -1: write a whole number from 0/]
  ])("throws on %j", (options, message) => {
    assert.throws(() => PasswordHash.layerScrypt(options), RangeError, message)
  })
})

/** An algorithm that computes when it is told to: `next` lets the one go on that has begun first. */
const manual = () => {
  const running: Array<() => void> = []
  const start = <A>(value: A) => new Promise<A>((resolve) => running.push(() => resolve(value)))
  const algorithm: PasswordHash.Algorithm = {
    decoy: "decoy",
    hash: (password) => start(`hash of ${Buffer.from(password).toString()}`),
    read: (hash) => ({
      isCurrent: true,
      verify: (password) => start(hash === `hash of ${Buffer.from(password).toString()}`)
    })
  }
  return { algorithm, running, next: Effect.sync(() => running.shift()?.()) }
}
const settled = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

describe("limits", () => {
  it.effect("so many are computed at once, in the order in which they came", () =>
    Effect.gen(function*() {
      const { algorithm, next, running } = manual()
      const { verify } = PasswordHash.make(algorithm, { concurrency: 2, maxQueued: 100 })
      const done = yield* Ref.make<ReadonlyArray<number>>([])
      const fiber = yield* Effect.fork(Effect.forEach(
        Arr.range(1, 5),
        (n) => Effect.zipRight(verify(text("a"), "hash of a"), Ref.update(done, Arr.append(n))),
        { concurrency: "unbounded" }
      ))
      yield* settled
      for (const left of [2, 2, 2, 2, 1]) {
        assert.strictEqual(running.length, left)
        yield* next
        yield* settled
      }
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* Ref.get(done), [1, 2, 3, 4, 5])
    }))

  it.effect("three at once and 64 that wait, unless said otherwise", () =>
    Effect.gen(function*() {
      const { algorithm, next, running } = manual()
      const { verify } = PasswordHash.make(algorithm)
      const fiber = yield* Effect.fork(Effect.forEach(
        Arr.range(1, 100),
        () => Effect.either(verify(text("a"), "hash of a")),
        { concurrency: "unbounded" }
      ))
      yield* settled
      const concurrency = running.length
      assert.isAtLeast(concurrency, 1)
      assert.isAtMost(concurrency, 3)
      while (running.length > 0) {
        yield* next
        yield* settled
      }
      assert.strictEqual(Arr.separate(yield* Fiber.join(fiber))[1].length, concurrency + 64)
    }))

  it.effect("who is interrupted while waiting makes room, and while computing does not", () =>
    Effect.gen(function*() {
      const { algorithm, next, running } = manual()
      const { verify } = PasswordHash.make(algorithm, { concurrency: 1, maxQueued: 1 })
      const check = verify(text("a"), "hash of a")
      const computing = yield* Effect.fork(check)
      const waiting = yield* Effect.fork(check)
      yield* settled
      assert.strictEqual((yield* Effect.flip(check)).reason, "busy")
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interruptFork(computing)
      yield* settled
      const second = yield* Effect.fork(check)
      yield* settled
      // the first still has the thread
      assert.strictEqual(running.length, 1)
      assert.strictEqual((yield* Effect.flip(check)).reason, "busy")
      yield* next
      yield* settled
      assert.strictEqual(running.length, 1)
      yield* next
      assert.isTrue(yield* Fiber.join(second))
    }))

  it.effect("an algorithm that fails is unavailable, and gives its place back", () =>
    Effect.gen(function*() {
      const broken: PasswordHash.Algorithm = {
        decoy: "decoy",
        hash: () => Promise.reject(new Error("no memory")),
        read: () => ({
          isCurrent: true,
          verify: () => {
            throw new Error("no memory")
          }
        })
      }
      const { hash, verify } = PasswordHash.make(broken, { concurrency: 1, maxQueued: 0 })
      const attempts = [
        Effect.asVoid(hash(text("a"))),
        Effect.asVoid(verify(text("a"), "x")),
        Effect.asVoid(hash(text("a")))
      ]
      for (const attempt of attempts) {
        const error = yield* Effect.flip<
          void,
          PasswordHash.PasswordTooLong | PasswordHash.PasswordHashUnsupported | PasswordHash.PasswordHashUnavailable,
          never
        >(attempt)
        assert(error._tag === "PasswordHashUnavailable")
        assert.strictEqual(error.reason, "failed")
        assert.strictEqual(String(error.cause), "Error: no memory")
      }
    }))
})

describe("layerFirstOf", () => {
  const scrypt = PasswordHash.layerScrypt({ N: 16 })
  const argon2 = Argon2.layer({ memoryCost: 64, timeCost: 1 })

  it.effect("hashes by the first, and verifies by whichever can", () =>
    Effect.gen(function*() {
      const old = yield* Effect.provide(PasswordHash.PasswordHash, scrypt)
      const both = yield* PasswordHash.PasswordHash
      const before = yield* old.hash(text("a"))
      assert.isTrue(yield* both.verify(text("a"), before))
      assert.isFalse(yield* both.verify(text("b"), before))
      assert.isTrue(both.needsRehash(before))
      const after = yield* both.hash(text("a"))
      assert.match(after, /^\$argon2id\$/)
      assert.match(both.decoy, /^\$argon2id\$/)
      assert.isFalse(both.needsRehash(after))
      assert.isTrue(yield* both.verify(text("a"), after))
      assert.strictEqual((yield* Effect.flip(both.verify(text("a"), "x")))._tag, "PasswordHashUnsupported")
    }).pipe(Effect.provide(PasswordHash.layerFirstOf(argon2, scrypt))))

  it.effect("a busy one is not gone around", () =>
    Effect.gen(function*() {
      const { algorithm } = manual()
      const busy = Layer.succeed(
        PasswordHash.PasswordHash,
        PasswordHash.make({ ...algorithm, read: () => ({ isCurrent: true, verify: () => Promise.reject("no") }) })
      )
      const both = yield* Effect.provide(PasswordHash.PasswordHash, PasswordHash.layerFirstOf(busy, scrypt))
      assert.strictEqual((yield* Effect.flip(both.verify(text("a"), "x")))._tag, "PasswordHashUnavailable")
    }))
})

// ---------------------------------------------------------------------------------------------------------------------
// verifier
// ---------------------------------------------------------------------------------------------------------------------

interface User {
  readonly name: string
}

/** What is asked of the hashes, in order. */
const counting = (needsRehash = false) => {
  const asked: Array<string> = []
  const service: PasswordHash.Service = {
    decoy: "decoy",
    needsRehash: () => needsRehash,
    hash: (password) => Effect.sync(() => `new ${Redacted.value(password)}`),
    verify: (password, hash) =>
      Effect.sync(() => {
        asked.push(hash)
        return hash === "decoy" || hash === Redacted.value(password)
      })
  }
  return { asked, layer: Layer.succeed(PasswordHash.PasswordHash, service), service }
}

const users = () => {
  const hashes = new Map([["ada", "secret"], ["bo", "other"]])
  const looked: Array<string> = []
  return {
    hashes,
    looked,
    find: (username: string) =>
      Effect.sync(() => {
        looked.push(username)
        const hash = hashes.get(username)
        return hash === undefined ? Option.none() : Option.some({ hash, identity: { user: { name: username } } })
      })
  }
}

describe("verifier", () => {
  const nameOf = Option.map(({ user }: Authentication.Identity<User>) => user.name)

  it.effect("one hash for each, be the user there or not", () =>
    Effect.gen(function*() {
      const { asked, layer } = counting()
      const { find, looked } = users()
      const verify = PasswordHash.verifier({ find })
      const check = (username: string, password: string) =>
        Effect.map(Effect.provide(verify({ username, password: text(password) }), layer), nameOf)
      assert.strictEqual(Option.getOrUndefined(yield* check("ada", "secret")), "ada")
      assert.isTrue(Option.isNone(yield* check("ada", "wrong")))
      // a decoy that is good for a password, which none is, lets nobody in
      assert.isTrue(Option.isNone(yield* check("eve", "secret")))
      assert.isTrue(Option.isNone(yield* check("", "")))
      assert.deepStrictEqual(asked, ["secret", "secret", "decoy", "decoy"])
      assert.deepStrictEqual(looked, ["ada", "ada", "eve", ""])
    }))

  it.effect("cannot tell where a hash cannot be verified, or nobody found", () =>
    Effect.gen(function*() {
      const layer = PasswordHash.layerScrypt({ N: 16 })
      const { find, hashes } = users()
      hashes.set("ada", "!")
      const error = yield* Effect.flip(
        Effect.provide(PasswordHash.verifier({ find })({ username: "ada", password: text("a") }), layer)
      )
      assert.strictEqual(error._tag, "PasswordHashUnsupported")
      const down = PasswordHash.verifier({ find: () => Effect.fail("down" as const) })
      assert.strictEqual(
        yield* Effect.flip(Effect.provide(down({ username: "ada", password: text("a") }), layer)),
        "down"
      )
    }))

  describe("cache", () => {
    const cached = (cache: PasswordHash.Cache | false | undefined) => {
      const { asked, layer } = counting()
      const { find, hashes, looked } = users()
      const verify = PasswordHash.verifier({ find, cache })
      return {
        asked,
        hashes,
        looked,
        check: (username: string, password: string) =>
          Effect.map(Effect.provide(verify({ username, password: text(password) }), layer), Option.isSome)
      }
    }

    it.effect("is off unless asked for", () =>
      Effect.gen(function*() {
        for (const off of [false, undefined] as const) {
          const { asked, check } = cached(off)
          assert.deepStrictEqual([yield* check("ada", "secret"), yield* check("ada", "secret")], [true, true])
          assert.strictEqual(asked.length, 2)
        }
      }))

    it.effect("remembers a good password for its time, from when it was computed", () =>
      Effect.gen(function*() {
        const { asked, check, looked } = cached({ ttl: "1 minute" })
        assert.isTrue(yield* check("ada", "secret"))
        yield* TestClock.adjust("59 seconds")
        assert.isTrue(yield* check("ada", "secret"))
        assert.strictEqual(asked.length, 1)
        assert.strictEqual(looked.length, 2)
        yield* TestClock.adjust("1 second")
        assert.isTrue(yield* check("ada", "secret"))
        assert.strictEqual(asked.length, 2)
      }))

    it.effect("five minutes, unless said otherwise", () =>
      Effect.gen(function*() {
        const { asked, check } = cached({})
        assert.isTrue(yield* check("ada", "secret"))
        yield* TestClock.adjust(Duration.millis(299_999))
        assert.isTrue(yield* check("ada", "secret"))
        assert.strictEqual(asked.length, 1)
        yield* TestClock.adjust(Duration.millis(1))
        assert.isTrue(yield* check("ada", "secret"))
        assert.strictEqual(asked.length, 2)
      }))

    it.effect("remembers nothing that was wrong, and nobody who is not there", () =>
      Effect.gen(function*() {
        const { asked, check, hashes } = cached({})
        for (const [name, password] of [["ada", "wrong"], ["eve", "x"]] as const) {
          assert.deepStrictEqual([yield* check(name, password), yield* check(name, password)], [false, false])
        }
        assert.deepStrictEqual(asked, ["secret", "secret", "decoy", "decoy"])
        // one whose hash is the decoy, by then
        hashes.set("eve", "decoy")
        assert.isTrue(yield* check("eve", "x"))
        assert.strictEqual(asked.length, 5)
      }))

    it.effect("another name, password or hash is another", () =>
      Effect.gen(function*() {
        const { asked, check, hashes } = cached({})
        assert.isTrue(yield* check("ada", "secret"))
        assert.isFalse(yield* check("ada", "secre"))
        assert.isFalse(yield* check("bo", "secret"))
        hashes.set("ada", "changed")
        assert.isFalse(yield* check("ada", "secret"))
        assert.isTrue(yield* check("ada", "changed"))
        hashes.delete("ada")
        assert.isFalse(yield* check("ada", "changed"))
        assert.strictEqual(asked.length, 6)
        // one who has the same hash, by a mistake
        hashes.set("ada", "other")
        assert.deepStrictEqual([yield* check("bo", "other"), yield* check("ada", "other")], [true, true])
        assert.strictEqual(asked.length, 8)
        // where one ends and the other begins
        hashes.set("a", "\",\"b")
        hashes.set("a\",\"\\", "b")
        assert.isTrue(yield* check("a", "\",\"b"))
        assert.isFalse(yield* check("a\",\"\\", "\",\"b"))
      }))

    it.effect("is bounded: the oldest goes first", () =>
      Effect.gen(function*() {
        const { asked, check, hashes } = cached({ capacity: 2 })
        hashes.set("cy", "third")
        yield* check("ada", "secret")
        yield* check("bo", "other")
        yield* check("cy", "third")
        assert.strictEqual(asked.length, 3)
        yield* check("bo", "other")
        yield* check("cy", "third")
        assert.strictEqual(asked.length, 3)
        yield* check("ada", "secret")
        assert.strictEqual(asked.length, 4)
        yield* check("cy", "third")
        assert.strictEqual(asked.length, 4)
        yield* check("bo", "other")
        assert.strictEqual(asked.length, 5)
      }))

    it.effect("has a key of 32 random bytes, once", () =>
      Effect.gen(function*() {
        const { check } = cached({})
        const sizes: Array<number> = []
        const bytes = (size: number) => {
          sizes.push(size)
          return new Uint8Array(size)
        }
        yield* Effect.provideService(
          Effect.all([check("ada", "secret"), check("ada", "secret")]),
          Entropy.Entropy,
          { uuid: () => "", bytes }
        )
        assert.deepStrictEqual(sizes, [32])
      }))

    it.effect("what is computed anew is the newest", () =>
      Effect.gen(function*() {
        const { asked, check, hashes } = cached({ capacity: 2, ttl: "1 minute" })
        hashes.set("cy", "third")
        yield* check("ada", "secret")
        yield* TestClock.adjust("30 seconds")
        yield* check("bo", "other")
        yield* TestClock.adjust("30 seconds")
        yield* check("ada", "secret")
        yield* check("cy", "third")
        assert.strictEqual(asked.length, 4)
        yield* check("ada", "secret")
        assert.strictEqual(asked.length, 4)
        yield* check("bo", "other")
        assert.strictEqual(asked.length, 5)
      }))

    it.each<[PasswordHash.Cache, RegExp]>([
      [{ capacity: 0 }, /PasswordHash\.verifier: cache\.capacity is 0: write a whole number from 1/],
      [{ ttl: 0 }, /PasswordHash\.verifier: cache\.ttl is 0: write how long, such as "5 minutes"/],
      [{ ttl: Infinity }, /cache\.ttl is Infinity/]
    ])("throws on %j", (cache, message) => {
      assert.throws(() => PasswordHash.verifier({ find: users().find, cache }), RangeError, message)
    })
  })

  describe("upgrade", () => {
    it.effect("a good password is hashed anew where it has to be", () =>
      Effect.gen(function*() {
        for (const needsRehash of [true, false]) {
          const { layer } = counting(needsRehash)
          const stored: Array<ReadonlyArray<string>> = []
          const verify = PasswordHash.verifier({
            find: users().find,
            upgrade: (...args) => Effect.sync(() => stored.push(args))
          })
          for (const [username, password] of [["ada", "wrong"], ["eve", "secret"], ["ada", "secret"]] as const) {
            yield* Effect.provide(verify({ username, password: text(password) }), layer)
          }
          assert.deepStrictEqual(stored, needsRehash ? [["ada", "new secret", "secret"]] : [])
        }
      }))

    it.effect("that it fails is logged, and the password is good all the same", () =>
      Effect.gen(function*() {
        const logged: Array<unknown> = []
        const verify = PasswordHash.verifier({
          find: users().find,
          upgrade: () => Effect.fail(new Error("read only"))
        })
        const result = yield* verify({ username: "ada", password: text("secret") }).pipe(
          Effect.provide(counting(true).layer),
          Effect.provide(Logger.replace(
            Logger.defaultLogger,
            Logger.make(({ logLevel, message }) => logged.push([logLevel.label, String(message)]))
          ))
        )
        assert.strictEqual(Option.getOrUndefined(nameOf(result)), "ada")
        assert.deepStrictEqual(logged, [["WARN", "PasswordHash: a hash could not be made anew,Error: read only"]])
      }))
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// over a socket
// ---------------------------------------------------------------------------------------------------------------------

describe("served", () => {
  class CurrentUser extends Authentication.Tag("test/CurrentUser")<CurrentUser, User>() {}
  const encoded = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString("base64")}` })

  it.scoped("Basic: one hash for each request, and 503 when it is too much", () =>
    Effect.gen(function*() {
      const { algorithm, next, running } = manual()
      const { asked, layer, service } = counting()
      const { find } = users()
      const backend = Authentication.basic({ verify: PasswordHash.verifier({ find }) })
      const whoami = Effect.map(CurrentUser, ({ user }) => HttpServerResponse.text(user.name))
      const serve = (passwords: Layer.Layer<PasswordHash.PasswordHash>) =>
        Effect.map(
          listen(
            Stack.serve(whoami, CurrentUser.required()).pipe(
              Layer.provide(CurrentUser.layer(backend)),
              Layer.provide(passwords)
            )
          ),
          (port) => (credentials: string) => request(port, { headers: encoded(credentials) })
        )
      const send = yield* serve(layer)
      const good = yield* send("ada:secret")
      assert.deepStrictEqual([good.status, good.body], [200, "ada"])
      const [wrong, unknown] = [yield* send("ada:wrong"), yield* send("eve:wrong")]
      assert.strictEqual(wrong.status, 401)
      const told = ({ body, headers: { date: _, ...headers }, status }: typeof wrong) => ({ body, headers, status })
      assert.deepStrictEqual(told(unknown), told(wrong))
      assert.deepStrictEqual(asked, ["secret", "secret", "decoy"])
      assert.strictEqual(service.decoy, "decoy")

      const flooded = yield* serve(
        Layer.succeed(PasswordHash.PasswordHash, PasswordHash.make(algorithm, { concurrency: 1, maxQueued: 0 }))
      )
      const first = yield* Effect.fork(flooded("ada:secret"))
      while (running.length === 0) yield* settled
      const refused = yield* flooded("ada:secret")
      assert.deepStrictEqual([refused.status, refused.headers["retry-after"]], [503, "5"])
      yield* next
      assert.strictEqual((yield* Fiber.join(first)).status, 401)
    }))

  it.scoped("a login form: its failures are responses", () =>
    Effect.gen(function*() {
      const { find, hashes } = users()
      hashes.set("broken", "!")
      const verify = PasswordHash.verifier({ find })
      const login = Effect.gen(function*() {
        const form = new URLSearchParams(yield* (yield* HttpServerRequest.HttpServerRequest).text)
        const identity = yield* verify({ username: form.get("name") ?? "", password: text(form.get("password") ?? "") })
        return HttpServerResponse.empty({ status: Option.isSome(identity) ? 204 : 403 })
      })
      const passwords = yield* Effect.provide(PasswordHash.PasswordHash, PasswordHash.layerScrypt({ N: 16 }))
      hashes.set("ada", yield* passwords.hash(text("secret")))
      const port = yield* listen(
        Stack.serve(Effect.provideService(login, PasswordHash.PasswordHash, passwords), RequestId.middleware())
      )
      const send = (body: string) => request(port, { method: "POST", body })
      assert.strictEqual((yield* send("name=ada&password=secret")).status, 204)
      assert.strictEqual((yield* send("name=ada&password=wrong")).status, 403)
      assert.strictEqual((yield* send("name=eve&password=secret")).status, 403)
      const broken = yield* send("name=broken&password=secret")
      assert.strictEqual(broken.status, 500)
      assert.deepStrictEqual(JSON.parse(broken.body), {
        title: "Internal Server Error",
        status: 500,
        detail: "The server has failed"
      })
    }))
})
