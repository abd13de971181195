/**
 * Refresh tokens, each good for one turn (RFC 9700 section 4.14.2).
 *
 * All that follow from one login are a family, of which the last is good. Who comes with another has it from somewhere: the
 * family is revoked, for the thief and for the one that was stolen from, who logs in anew.
 */
import { KeyValueStore } from "@effect/platform"
import type { PlatformError } from "@effect/platform/Error"
import { Clock, Context, Data, Duration, Effect, Layer, Option, type ParseResult, Redacted, Schema } from "effect"
import { Entropy } from "effect-middleware"
import { createHash } from "node:crypto"

export class RefreshRefused extends Data.TaggedError("RefreshRefused")<{
  readonly reason: "malformed" | "unknown" | "expired" | "reused"
}> {}

export interface Rotated {
  readonly subject: string
  /** In the place of the one that was given. */
  readonly token: Redacted.Redacted
}

type Failure = PlatformError | ParseResult.ParseError

export class RefreshTokens extends Context.Tag("tokens/RefreshTokens")<RefreshTokens, {
  /** The first of a family. */
  readonly issue: (subject: string) => Effect.Effect<Redacted.Redacted, Failure>
  readonly rotate: (token: Redacted.Redacted) => Effect.Effect<Rotated, RefreshRefused | Failure>
  /** For a logout. */
  readonly revoke: (token: Redacted.Redacted) => Effect.Effect<void, Failure>
}>() {}

const Family = Schema.Struct({
  subject: Schema.String,
  /** The hash of the token that is good: who reads the store has none. */
  current: Schema.String,
  expiresAt: Schema.Number
})

const hash = (text: string) => createHash("sha256").update(text).digest("base64url")

/** `<family>.<secret>`, each of 128 bits or more. */
const parse = (token: Redacted.Redacted) => /^([\w-]{22})\.[\w-]{43}$/.exec(Redacted.value(token))?.[1]

/**
 * In a `KeyValueStore`, which has no way to compare and set: what is done to families waits for what was begun before, in
 * this process alone. For several, keep families where one statement can (`UPDATE ... WHERE current = ...`).
 */
export const layer = (
  { lifetime = "30 days" }: { readonly lifetime?: Duration.DurationInput } = {}
): Layer.Layer<RefreshTokens, never, KeyValueStore.KeyValueStore> =>
  Layer.effect(
    RefreshTokens,
    Effect.gen(function*() {
      const families = (yield* KeyValueStore.KeyValueStore).forSchema(Family)
      const { bytes } = yield* Entropy.Entropy
      const alone = (yield* Effect.makeSemaphore(1)).withPermits(1)
      const random = (size: number) => Buffer.from(bytes(size)).toString("base64url")
      const next = (id: string) => `${id}.${random(32)}`

      const save = (id: string, token: string, family: Omit<typeof Family.Type, "current">) =>
        Effect.as(families.set(id, { ...family, current: hash(token) }), Redacted.make(token))

      return {
        issue: (subject) =>
          Effect.gen(function*() {
            const expiresAt = (yield* Clock.currentTimeMillis) + Duration.toMillis(lifetime)
            const id = random(16)
            return yield* save(id, next(id), { subject, expiresAt })
          }),
        rotate: (token) =>
          alone(Effect.gen(function*() {
            const id = parse(token)
            if (id === undefined) return yield* new RefreshRefused({ reason: "malformed" })
            const family = yield* families.get(id)
            if (Option.isNone(family)) return yield* new RefreshRefused({ reason: "unknown" })
            const { current, expiresAt, subject } = family.value
            const isOver = (yield* Clock.currentTimeMillis) >= expiresAt
            if (isOver || current !== hash(Redacted.value(token))) {
              yield* families.remove(id)
              return yield* new RefreshRefused({ reason: isOver ? "expired" : "reused" })
            }
            return { subject, token: yield* save(id, next(id), { subject, expiresAt }) }
          })),
        revoke: (token) => {
          const id = parse(token)
          return id === undefined ? Effect.void : alone(families.remove(id))
        }
      }
    })
  )
