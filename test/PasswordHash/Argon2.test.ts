import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { PasswordHash } from "effect-middleware"
import * as Argon2 from "effect-middleware/PasswordHash/Argon2"
import * as Contract from "../contracts/PasswordHashContract.js"

const salt = "YWFhYWFhYWFhYWFhYWFhYQ"
const tag = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"

Contract.suite("Argon2", {
  layer: (limits) => Argon2.layer({ memoryCost: 256, timeCost: 2, ...limits }),
  weaker: Argon2.layer({ memoryCost: 128, timeCost: 1 }),
  syntax: /^\$argon2id\$v=19\$m=256,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/,
  // of the tests of the reference implementation
  known: [
    ["$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc", "password"],
    ["$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA", "password"],
    ["$argon2i$m=65536,t=2,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ", "password"]
  ],
  unknown: [
    `$scrypt$ln=4,r=8,p=1$${salt}$${tag}`,
    `$2b$12$${"a".repeat(53)}`,
    `$argon2id$v=18$m=256,t=2,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=4,t=2,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=256,t=0,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=256,t=2,p=0$${salt}$${tag}`,
    `$argon2id$v=19$m=256,t=2$${salt}$${tag}`,
    `$argon2id$v=19$m=256,t=2,p=1$${salt}$`,
    // a tag that one password in 2^32 has
    `$argon2id$v=19$m=256,t=2,p=1$${salt}$AAAAAA`,
    `$argon2id$v=19$m=256,t=2,p=1$${salt}$${"A".repeat(1_000_000)}`
  ],
  excessive: [
    `$argon2id$v=19$m=4294967295,t=4294967295,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=131073,t=1,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=65536,t=9,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=256,t=4294967295,p=1$${salt}$${tag}`,
    `$argon2id$v=19$m=256,t=2,p=17$${salt}$${tag}`
  ]
})

describe("Argon2.layer", () => {
  it.effect("has the parameters that OWASP asks for", () =>
    Effect.gen(function*() {
      const { decoy, hash, verify } = yield* PasswordHash.PasswordHash
      const stored = yield* hash(Redacted.make("a"))
      assert.match(stored, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
      assert.strictEqual(stored.length, decoy.length)
      assert.isTrue(yield* verify(Redacted.make("a"), stored))
      // what other libraries make by default
      const excessive = (parameters: string) =>
        Effect.match(verify(Redacted.make("a"), `$argon2id$v=19$${parameters}$${salt}$${tag}`), {
          onFailure: () => true,
          onSuccess: () => false
        })
      assert.isFalse(yield* excessive("m=65536,t=3,p=4"))
      assert.isFalse(yield* excessive("m=65536,t=4,p=1"))
      assert.isFalse(yield* excessive("m=47104,t=1,p=1"))
    }).pipe(Effect.provide(Argon2.layer())))

  it.effect("wants anew what differs in anything", () =>
    Effect.gen(function*() {
      const { needsRehash } = yield* PasswordHash.PasswordHash
      const own = `$argon2id$v=19$m=256,t=2,p=1$${salt}$${tag}`
      assert.isFalse(needsRehash(own))
      for (
        const [a, b] of [["2id", "2i"], ["2id", "2d"], ["19", "16"], ["m=256", "m=257"], ["t=2", "t=3"], ["p=1", "p=2"]]
      ) {
        assert.isTrue(needsRehash(own.replace(a!, b!)), b)
      }
      assert.isTrue(needsRehash(`${own}${tag}`.slice(0, -1)))
    }).pipe(Effect.provide(Argon2.layer({ memoryCost: 256 }))))

  it.effect("verifies its own parameters, whatever they are", () =>
    Effect.gen(function*() {
      const { hash, verify } = yield* PasswordHash.PasswordHash
      assert.isTrue(yield* verify(Redacted.make("a"), yield* hash(Redacted.make("a"))))
    }).pipe(Effect.provide(Argon2.layer({ memoryCost: 150 * 1024, timeCost: 4, parallelism: 2 }))))

  it.each<[Argon2.Options, RegExp]>([
    [{ memoryCost: 7 }, /PasswordHash\/Argon2: memoryCost is 7: write a whole number from 8/],
    [{ memoryCost: 31, parallelism: 4 }, /memoryCost is 31: write a whole number from 32/],
    [{ memoryCost: 1.5 }, /memoryCost is 1.5/],
    [{ memoryCost: 4 * 1024 * 1024 + 1 }, /memoryCost/],
    [{ timeCost: 0 }, /timeCost is 0/],
    [{ timeCost: 1025 }, /timeCost is 1025/],
    [{ parallelism: 0 }, /parallelism is 0/],
    [{ parallelism: 17 }, /parallelism is 17/],
    [{ concurrency: 0 }, /PasswordHash: concurrency is 0/]
  ])("throws on %j", (options, message) => {
    assert.throws(() => Argon2.layer(options), RangeError, message)
  })
})
