/**
 * Sessions where texts are kept by keys, and nobody compares before setting: exact within one process, where what is done to
 * a key waits for what has begun before.
 */
import * as Arr from "effect/Array"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import * as Schema from "effect/Schema"
import type { Outcome } from "../SessionStore.js"
import { digest } from "./digest.js"
import type { Records, Removed } from "./sessionRecordsStore.js"
import * as rules from "./sessionRules.js"

export interface Texts {
  readonly get: (key: string) => Effect.Effect<unknown, unknown>
  /** For so many milliseconds, where it knows of time. */
  readonly set: (key: string, text: string, ttl: number) => Effect.Effect<void, unknown>
  readonly remove: (key: string) => Effect.Effect<void, unknown>
}

const Kept = Schema.parseJson(Schema.Struct({
  payload: Schema.String,
  owner: Schema.UndefinedOr(Schema.String),
  createdAt: Schema.Number,
  touchedAt: Schema.Number,
  expiresAt: Schema.Number,
  endsAt: Schema.Number,
  version: Schema.Number,
  superseded: Schema.Boolean,
  /** What has taken its place. */
  by: Schema.UndefinedOr(Schema.String)
}))

const Index = Schema.parseJson(Schema.Struct({
  members: Schema.Array(Schema.Struct({ id: Schema.String, addedAt: Schema.Number, endsAt: Schema.Number })),
  expiresAt: Schema.Number
}))

const Epoch = Schema.parseJson(Schema.Struct({ number: Schema.Number, expiresAt: Schema.Number }))

/** Keys that are worked on at the same time, at most. */
const width = 64

export const fromTexts = (texts: Texts, timeout: Duration.DurationInput): Records => {
  const locks = Arr.makeBy(width, () => Effect.unsafeMakeSemaphore(1))

  /**
   * What begins is brought to its end, though nobody waits for it any longer: another would read half a write, or write
   * in between.
   */
  const alone = <A>(key: string, step: Effect.Effect<A, unknown>): Effect.Effect<A, unknown> =>
    Arr.unsafeGet(locks, Math.abs(Hash.string(key)) % width).withPermits(1)(
      Effect.uninterruptible(step)
    ).pipe(
      Effect.disconnect,
      // whoever calls may not be
      Effect.interruptible,
      Effect.timeout(timeout)
    )

  /** `f` is given what is at a key, if it has not expired, and says what is there from then on. */
  const cell = <A extends { readonly expiresAt: number }>(kind: string, schema: Schema.Schema<A, string>) => {
    const decode = Schema.decodeUnknown(schema)
    const encode = Schema.encode(schema)
    return <B>(
      name: string,
      now: number,
      f: (value: A | undefined) => readonly [result: B, value: A | undefined]
    ): Effect.Effect<B, unknown> => {
      const key = `${kind}:${name}`
      return alone(
        key,
        Effect.gen(function*() {
          const text = yield* texts.get(key)
          const value = text === undefined ? undefined : yield* decode(text)
          const before = value !== undefined && value.expiresAt > now ? value : undefined
          const [result, after] = f(before)
          if (after === undefined || after.expiresAt <= now) {
            if (text !== undefined) yield* texts.remove(key)
          } else if (after !== before) yield* texts.set(key, yield* encode(after), after.expiresAt - now)
          return result
        })
      )
    }
  }
  const record = cell("id", Kept)
  const index = cell("owner", Index)
  const epoch = cell("epoch", Epoch)

  return {
    load: (id, { now, touch }) =>
      record(id, now, (kept) => {
        if (kept === undefined) return [undefined, undefined]
        const after = rules.used(kept, now, touch)
        const { by: _, ...stored } = after
        return [stored, after]
      }),
    create: (id, entry, now) =>
      record(
        id,
        now,
        (kept) => kept === undefined ? [true, { ...rules.created(entry), by: undefined }] : [false, kept]
      ),
    save: (id, version, changes, now) =>
      record<Outcome>(id, now, (kept) => {
        if (kept === undefined) return ["missing", kept]
        return rules.isOpen(kept, version) ? ["saved", rules.saved(kept, changes)] : ["conflict", kept]
      }),
    supersede: ({ id, version }, by, { now, until }) =>
      record<Outcome>(id, now, (kept) => {
        if (kept === undefined) return ["missing", kept]
        return rules.isOpen(kept, version) ? ["saved", { ...rules.superseded(kept, until), by }] : ["conflict", kept]
      }),
    remove: (id, { following, now, owner }) =>
      record<Removed>(id, now, (kept) => {
        if (kept === undefined || (owner !== undefined && kept.owner !== owner)) return [{ _tag: "Nothing" }, kept]
        if (kept.by === undefined) return [{ _tag: "Live" }, undefined]
        return [{ _tag: "Superseded", by: kept.by }, following === true ? kept : undefined]
      }),
    own: (owner, member, now) =>
      index(digest(owner), now, (before) => {
        const members = [...before?.members.filter(({ endsAt }) => endsAt > now) ?? [], member]
        return [undefined, { members, expiresAt: Math.max(before?.expiresAt ?? 0, member.endsAt) }]
      }),
    members: (owner, now) => index(digest(owner), now, (before) => [before?.members ?? [], before]),
    disown: (owner, gone, now) =>
      index(digest(owner), now, (before) => [
        undefined,
        before && {
          ...before,
          members: before.members.filter(({ addedAt, id }) =>
            !gone.some((member) => member.id === id && member.addedAt === addedAt)
          )
        }
      ]),
    epoch: (owner, now) => epoch(digest(owner), now, (before) => [before?.number ?? 0, before]),
    advanceEpoch: (owner, { expiresAt, now }) =>
      epoch(digest(owner), now, (before) => {
        const after = rules.advanced(before, expiresAt)
        return [after.number, after]
      })
  }
}
