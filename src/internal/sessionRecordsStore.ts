/**
 * A session store of what engines have that know one key at a time: every step here is exact about one key, and an order of
 * steps is chosen such that nothing is lost between two of them.
 */
import * as Effect from "effect/Effect"
import type { Entry, Outcome, Service, SessionUnavailable, Stored } from "../SessionStore.js"

/** Steps, each of which is atomic. What has expired is not there for any of them. */
export interface Records {
  readonly load: Step<Service["load"]>
  readonly create: Step<Service["create"]>
  readonly save: Step<Service["save"]>
  /** Marks a version as superseded, or removes it where `until` is not after `now`. */
  readonly supersede: (
    from: { readonly id: string; readonly version: number },
    to: string,
    options: { readonly now: number; readonly until: number }
  ) => Effect.Effect<Outcome, unknown>
  readonly remove: (id: string, options: RemoveOptions) => Effect.Effect<Removed, unknown>
  /** Adds to the index of an owner, and takes out what has ended. */
  readonly own: (
    owner: string,
    member: Member & { readonly endsAt: number },
    now: number
  ) => Effect.Effect<void, unknown>
  readonly members: (owner: string, now: number) => Effect.Effect<ReadonlyArray<Member>, unknown>
  readonly disown: (owner: string, members: ReadonlyArray<Member>, now: number) => Effect.Effect<void, unknown>
  readonly epoch: Step<Service["epoch"]>
  readonly advanceEpoch: Step<Service["advanceEpoch"]>
}

type Step<Method> = Method extends (...args: infer Args) => Effect.Effect<infer A, infer _>
  ? (...args: Args) => Effect.Effect<A, unknown>
  : never

export interface Member {
  readonly id: string
  /** When it was added to the index, by the clock of whoever did. */
  readonly addedAt: number
}

export interface RemoveOptions {
  readonly now: number
  /** Leaves those of any other. */
  readonly owner?: string | undefined
  /** Leaves one that is superseded, so that what is in its place can go first. */
  readonly following?: boolean | undefined
}

/** What was there: nothing (or another's), one, or one that is superseded, and by which. */
export type Removed =
  | { readonly _tag: "Nothing" }
  | { readonly _tag: "Live" }
  | { readonly _tag: "Superseded"; readonly by: string }

/**
 * A session is in the index before it is there itself, so whoever reads the index meanwhile must not take it out. Longer than
 * any store takes to answer, and than clocks differ.
 */
const settled = 60_000

/** As many steps at once for the sessions of one owner. */
const concurrency = 16

export const fromRecords = (
  records: Records,
  unavailable: (operation: string, cause: unknown) => SessionUnavailable
): Service => {
  const create = (id: string, entry: Entry, now: number) =>
    entry.owner === undefined
      ? records.create(id, entry, now)
      : Effect.zipRight(
        records.own(entry.owner, { id, addedAt: now, endsAt: entry.endsAt }, now),
        records.create(id, entry, now)
      )

  const rotate: Step<Service["rotate"]> = (from, to, options) => {
    const { now } = options
    const back = records.remove(to.id, { now })
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(create(to.id, to.entry, now)), (created) =>
        created
          ? restore(records.supersede(from, to.id, options)).pipe(
            // whether the old one is superseded is not known, but nobody will ever ask for the new one
            Effect.onError(() => Effect.ignore(back)),
            Effect.tap((outcome) => outcome === "saved" ? Effect.void : back)
          )
          : Effect.succeed<Outcome>("conflict"))
    )
  }

  /** Counts those that were not superseded. The last in a row goes first: until all are gone the first still leads there. */
  const destroy = (
    id: string,
    options: Omit<RemoveOptions, "following">,
    except?: string
  ): Effect.Effect<number, unknown> =>
    id === except ? Effect.succeed(0) : Effect.flatMap(
      records.remove(id, { ...options, following: true }),
      (removed) =>
        removed._tag === "Superseded"
          ? Effect.zipLeft(destroy(removed.by, options, except), records.remove(id, options))
          : Effect.succeed(removed._tag === "Live" ? 1 : 0)
    )

  const list: Step<Service["list"]> = (owner, now) =>
    Effect.gen(function*() {
      const members = yield* records.members(owner, now)
      const found = yield* Effect.forEach(
        members,
        (member) => Effect.map(records.load(member.id, { now }), (stored) => ({ member, stored })),
        { concurrency }
      )
      const sessions = new Map<string, Stored & { readonly id: string }>()
      const stale: Array<Member> = []
      for (const { member, stored } of found) {
        if (stored?.owner === owner) {
          if (!stored.superseded) sessions.set(member.id, { ...stored, id: member.id })
        } else if (now - member.addedAt > settled) stale.push(member)
      }
      if (stale.length > 0) yield* records.disown(owner, stale, now)
      return Array.from(sessions.values()).sort((a, b) => b.touchedAt - a.touchedAt)
    })

  const destroyAll: Step<Service["destroyAll"]> = (owner, { except, now }) =>
    Effect.gen(function*() {
      const members = yield* records.members(owner, now)
      const counts = yield* Effect.forEach(
        members,
        ({ id }) => destroy(id, { now, owner }, except),
        { concurrency }
      )
      const stale = members.filter(({ addedAt, id }) => id !== except && now - addedAt > settled)
      if (stale.length > 0) yield* records.disown(owner, stale, now)
      return counts.reduce((sum, count) => sum + count, 0)
    })

  const or = <A>(operation: string, effect: Effect.Effect<A, unknown>) =>
    Effect.mapError(effect, (cause) => unavailable(operation, cause))
  return {
    load: (id, options) => or("load", records.load(id, options)),
    create: (id, entry, now) => or("create", create(id, entry, now)),
    save: (id, version, changes, now) => or("save", records.save(id, version, changes, now)),
    rotate: (from, to, options) => or("rotate", rotate(from, to, options)),
    destroy: (id, now) => or("destroy", Effect.asVoid(destroy(id, { now }))),
    list: (owner, now) => or("list", list(owner, now)),
    destroyAll: (owner, options) => or("destroyAll", destroyAll(owner, options)),
    epoch: (owner, now) => or("epoch", records.epoch(owner, now)),
    advanceEpoch: (owner, options) => or("advanceEpoch", records.advanceEpoch(owner, options))
  }
}
