/** What every layer of `PasswordHash` owes, case by case. */
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Effect, Layer, Redacted } from "effect"
import { Entropy, PasswordHash } from "effect-middleware"
import { assertLinear } from "../internal/hostile.js"

export interface Options {
  /** With parameters that take little time; with `weaker`, less than those. */
  readonly layer: (limits?: PasswordHash.Limits) => Layer.Layer<PasswordHash.PasswordHash>
  readonly weaker: Layer.Layer<PasswordHash.PasswordHash>
  /** What new hashes look like. */
  readonly syntax: RegExp
  /** Hashes by others, and of what. */
  readonly known: ReadonlyArray<readonly [hash: string, password: string]>
  /** Texts that are no hash. */
  readonly unknown: ReadonlyArray<string>
  /** Hashes that ask for too much. */
  readonly excessive: ReadonlyArray<string>
}

const text = Redacted.make<string>

export const suite = (name: string, { excessive, known, layer, syntax, unknown, weaker }: Options) =>
  describe(name, () => {
    const test = (title: string, body: (passwords: PasswordHash.Service) => Effect.Effect<void, unknown>) =>
      it.effect(title, () => Effect.provide(Effect.flatMap(PasswordHash.PasswordHash, body), layer()))

    test("verifies what it has hashed, and nothing else", ({ hash, needsRehash, verify }) =>
      Effect.gen(function*() {
        const stored = yield* hash(text("correct horse"))
        assert.match(stored, syntax)
        assert.isFalse(needsRehash(stored))
        assert.isTrue(yield* verify(text("correct horse"), stored))
        for (const wrong of ["", "Correct horse", "correct horse ", "correct hors"]) {
          assert.isFalse(yield* verify(text(wrong), stored), JSON.stringify(wrong))
        }
      }))

    test("hashes one password twice in two ways", ({ hash }) =>
      Effect.gen(function*() {
        assert.notStrictEqual(yield* hash(text("a")), yield* hash(text("a")))
      }))

    test("takes the salt from Entropy", ({ hash }) =>
      Effect.gen(function*() {
        const bytes = (size: number) => new Uint8Array(size).fill(7)
        const fixed = Effect.provide(
          hash(text("a")),
          Layer.succeed(Entropy.Entropy, { uuid: () => "", bytes })
        )
        const first = yield* fixed
        assert.strictEqual(first, yield* fixed)
        assert.include(first, `$${Buffer.from(bytes(16)).toString("base64").replace(/=+$/, "")}$`)
      }))

    test("takes any text", ({ hash, verify }) =>
      Effect.gen(function*() {
        for (const password of ["", " ", "\0", "żółć 漢字 🦊", "\ud800", "$", ":", "x".repeat(1024)]) {
          assert.isTrue(yield* verify(text(password), yield* hash(text(password))), JSON.stringify(password))
        }
      }))

    test("knows a text however it is typed", ({ hash, verify }) =>
      Effect.gen(function*() {
        const stored = yield* hash(text("caf\u00e9 \u00c5"))
        for (const typed of ["cafe\u0301 \u00c5", "caf\u00e9\u00a0\u212b", "caf\u00e9\u3000A\u030a"]) {
          assert.isTrue(yield* verify(text(typed), stored), typed)
        }
        // no compatibility, no case, and no space is left out
        for (const other of ["cafe \u00c5", "CAF\u00c9 \u00c5", "caf\u00e9  \u00c5", "caf\u00e9\t\u00c5"]) {
          assert.isFalse(yield* verify(text(other), stored), other)
        }
        assert.isFalse(yield* verify(text("\uff21"), yield* hash(text("A"))))
      }))

    test("a password of more than 1024 bytes is none", ({ hash, verify }) =>
      Effect.gen(function*() {
        const empty = yield* hash(text(""))
        for (const long of ["x".repeat(1025), "\u00e9".repeat(513), "e\u0301".repeat(342), "x".repeat(1_000_000)]) {
          assert.strictEqual((yield* Effect.flip(hash(text(long))))._tag, "PasswordTooLong")
          // nor is it the one that is hashed in its place
          assert.isFalse(yield* verify(text(long), empty))
        }
      }))

    test("its decoy is a hash like any other, and of no password", ({ decoy, hash, needsRehash, verify }) =>
      Effect.gen(function*() {
        assert.match(decoy, syntax)
        assert.isFalse(needsRehash(decoy))
        const parameters = (text: string) => text.split("$").slice(0, -2)
        assert.deepStrictEqual(parameters(decoy), parameters(yield* hash(text("a"))))
        assert.isFalse(yield* verify(text(""), decoy))
        assert.isFalse(yield* verify(text("a"), decoy))
      }))

    test("verifies what others have hashed", ({ needsRehash, verify }) =>
      Effect.gen(function*() {
        for (const [hash, password] of known) {
          assert.isTrue(yield* verify(text(password), hash), hash)
          assert.isFalse(yield* verify(text(`${password}x`), hash), hash)
          assert.isTrue(needsRehash(hash), hash)
        }
      }))

    test("verifies what weaker parameters have hashed, and wants it anew", ({ needsRehash, verify }) =>
      Effect.gen(function*() {
        const weak = yield* Effect.provide(PasswordHash.PasswordHash, weaker)
        const stored = yield* weak.hash(text("a"))
        assert.isTrue(yield* verify(text("a"), stored))
        assert.isTrue(needsRehash(stored))
        assert.isFalse(weak.needsRehash(stored))
      }))

    test("refuses what is no hash, and what asks for too much", ({ hash, needsRehash, verify }) =>
      Effect.gen(function*() {
        const good = yield* hash(text("a"))
        const broken = [
          "",
          "a",
          "!",
          "*",
          ` ${good}`,
          `${good}\n`,
          `${good}=`,
          `${good}$`,
          good.slice(0, -1),
          good.slice(1)
        ]
        for (const [reason, hashes] of [["unknown", [...broken, ...unknown]], ["excessive", excessive]] as const) {
          for (const hash of hashes) {
            const error = yield* Effect.flip(verify(text("a"), hash))
            assert.strictEqual(error._tag, "PasswordHashUnsupported", hash)
            assert.strictEqual(error.reason, reason, hash)
            assert.isTrue(needsRehash(hash), hash)
          }
        }
      }))

    test("reads any text in linear time", ({ needsRehash, verify }) =>
      Effect.sync(() => {
        assertLinear(needsRehash)
        assertLinear((hash) => Effect.runSync(Effect.flip(verify(text("a"), hash))))
      }))

    it.effect("what comes when as many run and wait as may fails at once", () =>
      Effect.gen(function*() {
        const { hash, verify } = yield* PasswordHash.PasswordHash
        const stored = yield* hash(text("a"))
        const results = yield* Effect.forEach(
          Arr.range(1, 10),
          () => Effect.either(verify(text("a"), stored)),
          { concurrency: "unbounded" }
        )
        const [refused, answered] = Arr.separate(results)
        assert.deepStrictEqual(answered, Arr.replicate(true, 3))
        assert.deepStrictEqual(
          refused.map(({ _tag, reason }) => `${_tag} ${reason}`),
          Arr.replicate("PasswordHashUnavailable busy", 7)
        )
        // and the room is there again
        assert.isTrue(yield* verify(text("a"), stored))
      }).pipe(Effect.provide(layer({ concurrency: 1, maxQueued: 2 }))))
  })
