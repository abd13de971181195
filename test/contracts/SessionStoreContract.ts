/**
 * What every `SessionStore` owes, case by case.
 *
 * Each case has identifiers and owners of its own, so the store may be shared. Its times are those that the callers give,
 * far in the future, where no cleaning by the time of day comes upon them; what is read again has a minute left at least,
 * since an engine may count that by a clock of its own.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Array as Arr, Effect, Exit, type Layer, ManagedRuntime } from "effect"
import { SessionStore } from "effect-middleware"
import { randomBytes } from "node:crypto"

export interface Options {
  /** Cases that this store is known not to keep. They have to fail, so that the page that says so stays true. */
  readonly except?: ReadonlyArray<Case>
  /** These cases alone. */
  readonly only?: ReadonlyArray<Case>
  /** How many write to one session at the same time, in the case that is about that. Default: 200. */
  readonly writers?: number
  /** How long a case may take, in milliseconds. Default: 60,000. */
  readonly timeout?: number
}

export const suite = <E>(
  name: string,
  layer: Layer.Layer<SessionStore.SessionStore, E>,
  { except = [], only, timeout = 60_000, writers = 200 }: Options = {}
) =>
  describe(name, () => {
    const runtime = ManagedRuntime.make(layer)
    beforeAll(async () => void await runtime.runtime(), timeout)
    afterAll(() => runtime.dispose(), timeout)
    for (const [title, test] of Object.entries(cases)) {
      const is = (other: string) => other === title
      if (only !== undefined && !only.some(is)) continue
      const run = Effect.flatMap(SessionStore.SessionStore, (store) => test(store, writers))
      if (except.some(is)) {
        it(`does not keep: ${title}`, async () => {
          assert.isTrue(Exit.isFailure(await runtime.runPromiseExit(run)), "it keeps it after all")
        }, timeout)
      } else it(title, () => runtime.runPromise(run), timeout)
    }
  })

export type Case = keyof typeof cases

type Test = (store: SessionStore.Service, writers: number) => Effect.Effect<void, SessionStore.SessionUnavailable>

const minute = 60_000
const start = 4_000_000_000_000

const newId = () => randomBytes(32).toString("base64url")
const newOwner = () => `user-${newId()}`

const entryOf = (entry: Partial<SessionStore.Entry> = {}): SessionStore.Entry => ({
  payload: "{\"cart\":[1,2]}",
  owner: undefined,
  createdAt: start,
  touchedAt: start,
  expiresAt: start + 20 * minute,
  endsAt: start + 60 * minute,
  ...entry
})

const storedOf = (entry: SessionStore.Entry, over: Partial<SessionStore.Stored> = {}): SessionStore.Stored => ({
  ...entry,
  version: 1,
  superseded: false,
  ...over
})

const changesOf = (payload: string, at = start + minute) => ({ payload, touchedAt: at, expiresAt: at + 20 * minute })

const touch: SessionStore.Touch = { every: 5 * minute, idle: 20 * minute }

/** As many at once as there are, each after whatever has begun before it. */
const atOnce = <A, B, E>(items: Iterable<A>, f: (item: A, index: number) => Effect.Effect<B, E>) =>
  Effect.forEach(items, f, { concurrency: "unbounded" })

const idsOf = (sessions: ReadonlyArray<{ readonly id: string }>) => sessions.map(({ id }) => id)

const count = <A>(items: ReadonlyArray<A>, item: A) => items.filter((other) => other === item).length

/** What makes owners alike, and what means something to somebody. */
const oddities = [
  "",
  " ",
  ":",
  "::a",
  "{",
  "}",
  "{}",
  "{a}b",
  "\n",
  "\r\n",
  "\u0000",
  "\u0000a",
  "a",
  "ab",
  "%",
  "%00",
  "*",
  "?",
  "\\",
  "/../..",
  "'; --",
  "\"",
  "é",
  "e\u0301",
  "😀",
  "A",
  "İ",
  "__proto__",
  "x".repeat(5_000)
]

const cases = {
  // --- created and loaded --------------------------------------------------------------------------------------------

  "loads what has been created, as version 1": (store) =>
    Effect.gen(function*() {
      for (const entry of [entryOf(), entryOf({ owner: newOwner(), touchedAt: start + minute })]) {
        const id = newId()
        assert.isUndefined(yield* store.load(id, { now: start }))
        assert.isTrue(yield* store.create(id, entry, start))
        assert.deepStrictEqual(yield* store.load(id, { now: start + minute }), storedOf(entry))
        assert.isUndefined(yield* store.load(newId(), { now: start }))
      }
    }),

  "keeps times as they are, to the millisecond": (store) =>
    Effect.gen(function*() {
      const entry = entryOf({
        createdAt: 0,
        touchedAt: 1_000_000_000_001,
        expiresAt: start + 86_400_007,
        endsAt: 8_640_000_000_000_000
      })
      const id = newId()
      yield* store.create(id, entry, start)
      assert.deepStrictEqual(yield* store.load(id, { now: start }), storedOf(entry))
    }),

  "creates none in the place of one that is there": (store) =>
    Effect.gen(function*() {
      const entry = entryOf({ owner: newOwner() })
      const id = newId()
      yield* store.create(id, entry, start)
      const other = entryOf({ payload: "other", owner: newOwner() })
      assert.isFalse(yield* store.create(id, other, entry.expiresAt - 1))
      assert.deepStrictEqual(yield* store.load(id, { now: start }), storedOf(entry))
      yield* store.rotate({ id, version: 1 }, { id: newId(), entry }, { now: start, until: start + 5 * minute })
      assert.isFalse(yield* store.create(id, other, start + 5 * minute - 1))
      assert.deepInclude(yield* store.load(id, { now: start }), { payload: entry.payload, superseded: true })
      assert.deepStrictEqual(yield* store.list(other.owner ?? "", start), [])
    }),

  "of many that create by one identifier one does": (store) =>
    Effect.gen(function*() {
      const id = newId()
      const created = yield* atOnce(
        Arr.range(1, 50),
        (i) => store.create(id, entryOf({ payload: `${i}`, owner: `${id}-${i}` }), start)
      )
      assert.strictEqual(count(created, true), 1)
      const loaded = yield* store.load(id, { now: start })
      assert.strictEqual(loaded?.payload, `${created.indexOf(true) + 1}`)
      for (let i = 1; i <= 50; i++) {
        assert.deepStrictEqual(idsOf(yield* store.list(`${id}-${i}`, start)), created[i - 1] === true ? [id] : [])
      }
    }),

  "creates one in the place of one that has expired, and it is its owner's": (store) =>
    Effect.gen(function*() {
      const [before, after] = [newOwner(), newOwner()]
      const { expiresAt } = entryOf()
      for (const superseded of [false, true]) {
        const id = newId()
        yield* store.create(id, entryOf({ owner: before }), start)
        if (superseded) {
          yield* store.rotate(
            { id, version: 1 },
            { id: newId(), entry: entryOf() },
            { now: start, until: expiresAt }
          )
        }
        const entry = entryOf({
          payload: "after",
          owner: after,
          expiresAt: expiresAt + 20 * minute
        })
        assert.isTrue(yield* store.create(id, entry, expiresAt))
        assert.deepStrictEqual(yield* store.load(id, { now: expiresAt }), storedOf(entry))
        assert.strictEqual(yield* store.save(id, 1, changesOf("saved", expiresAt), expiresAt), "saved")
        assert.strictEqual(yield* store.destroyAll(before, { now: expiresAt }), 0)
        assert.deepStrictEqual(yield* store.list(before, expiresAt), [])
        assert.strictEqual(yield* store.destroyAll(after, { now: expiresAt }), 1)
      }
    }),

  // --- expired -------------------------------------------------------------------------------------------------------

  "has a session until its expiry, and not at it": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const entry = entryOf({ owner })
      const at = entry.expiresAt
      const create = Effect.tap(Effect.sync(newId), (id) => store.create(id, entry, start))
      const next = () => ({ id: newId(), entry: entryOf({ owner, expiresAt: at + minute }) })

      const id = yield* create
      assert.isDefined(yield* store.load(id, { now: at - 1 }))
      assert.deepStrictEqual(idsOf(yield* store.list(owner, at - 1)), [id])
      assert.deepStrictEqual(yield* store.list(owner, at), [])
      assert.strictEqual(yield* store.destroyAll(owner, { now: at }), 0)
      assert.isUndefined(yield* store.load(id, { now: at }))

      assert.strictEqual(yield* store.save(yield* create, 1, changesOf("x", at - 1), at - 1), "saved")
      assert.strictEqual(yield* store.save(yield* create, 1, changesOf("x", at), at), "missing")

      assert.isDefined(yield* store.load(yield* create, { now: at - 1, touch }))
      const late = yield* create
      assert.isUndefined(yield* store.load(late, { now: at, touch }))
      assert.isUndefined(yield* store.load(late, { now: at }))

      yield* store.destroyAll(owner, { now: start })
      const [kept, lost] = [next(), next()]
      const options = { now: at - 1, until: at }
      assert.strictEqual(yield* store.rotate({ id: yield* create, version: 1 }, kept, options), "saved")
      assert.strictEqual(
        yield* store.rotate({ id: yield* create, version: 1 }, lost, { now: at, until: at + minute }),
        "missing"
      )
      assert.isUndefined(yield* store.load(lost.id, { now: at }))
      assert.deepStrictEqual(idsOf(yield* store.list(owner, at)), [kept.id])

      yield* store.destroy(yield* create, at)
    }),

  "has nothing of what has expired as it is written": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const [created, saved] = [newId(), newId()]
      yield* store.create(created, entryOf({ owner, expiresAt: start }), start)
      assert.isUndefined(yield* store.load(created, { now: start }))
      yield* store.create(saved, entryOf({ owner }), start)
      const now = start + minute
      assert.strictEqual(yield* store.save(saved, 1, { payload: "", touchedAt: now, expiresAt: now }, now), "saved")
      assert.isUndefined(yield* store.load(saved, { now }))
      assert.deepStrictEqual(yield* store.list(owner, now), [])
    }),

  // --- touched -------------------------------------------------------------------------------------------------------

  "notes a use once that is due, and extends the session": (store) =>
    Effect.gen(function*() {
      const entry = entryOf({ owner: newOwner() })
      const id = newId()
      yield* store.create(id, entry, start)
      const due = start + touch.every
      assert.deepStrictEqual(yield* store.load(id, { now: due - 1, touch }), storedOf(entry))
      assert.deepStrictEqual(yield* store.load(id, { now: start - minute, touch }), storedOf(entry))
      assert.deepStrictEqual(yield* store.load(id, { now: due }), storedOf(entry))
      const touched = storedOf(entry, { touchedAt: due, expiresAt: due + touch.idle })
      assert.deepStrictEqual(yield* store.load(id, { now: due, touch }), touched)
      assert.deepStrictEqual(yield* store.load(id, { now: due + touch.idle - 1 }), touched)
      assert.isUndefined(yield* store.load(id, { now: due + touch.idle }))
    }),

  "extends a session to its end at most, and to what idle says even if that is sooner": (store) =>
    Effect.gen(function*() {
      const entry = entryOf({ endsAt: start + 25 * minute })
      const id = newId()
      yield* store.create(id, entry, start)
      const now = start + 10 * minute
      const soon = { every: minute, idle: 2 * minute }
      assert.strictEqual((yield* store.load(id, { now: now - minute, touch: soon }))?.expiresAt, now + minute)
      assert.strictEqual((yield* store.load(id, { now, touch }))?.expiresAt, now + minute)
      assert.strictEqual((yield* store.load(id, { now, touch: { ...touch, every: 0 } }))?.expiresAt, entry.endsAt)
      assert.isDefined(yield* store.load(id, { now: entry.endsAt - 1, touch }))
      assert.isUndefined(yield* store.load(id, { now: entry.endsAt, touch }))
    }),

  "a touch is no version, and takes no save back": (store) =>
    Effect.gen(function*() {
      const id = newId()
      yield* store.create(id, entryOf({ expiresAt: start + 59 * minute }), start)
      for (let version = 1; version <= 20; version++) {
        const now = start + version * minute
        const [outcome] = yield* Effect.all([
          store.save(id, version, { ...changesOf(`${version}`, now), expiresAt: start + 59 * minute }, now),
          ...Arr.makeBy(5, () => store.load(id, { now, touch: { every: 0, idle: 39 * minute } }))
        ], { concurrency: "unbounded" })
        assert.strictEqual(outcome, "saved")
        assert.deepInclude(yield* store.load(id, { now }), { payload: `${version}`, version: version + 1 })
      }
    }),

  "a touch brings nothing back": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      yield* atOnce(Arr.range(1, 30), () =>
        Effect.gen(function*() {
          const id = newId()
          const now = start + touch.every
          yield* store.create(id, entryOf({ owner }), start)
          yield* Effect.all([
            store.load(id, { now, touch }),
            store.destroy(id, now),
            store.load(id, { now, touch })
          ], { concurrency: "unbounded" })
          assert.isUndefined(yield* store.load(id, { now, touch }))
        }))
      assert.deepStrictEqual(yield* store.list(owner, start), [])
    }),

  // --- saved ---------------------------------------------------------------------------------------------------------

  "saves over the version that has been seen, and counts": (store) =>
    Effect.gen(function*() {
      const entry = entryOf({ owner: newOwner() })
      const id = newId()
      yield* store.create(id, entry, start)
      for (let version = 1; version <= 12; version++) {
        const changes = changesOf(`${version}`, start + version * minute)
        assert.strictEqual(yield* store.save(id, version, changes, changes.touchedAt), "saved")
        assert.deepStrictEqual(
          yield* store.load(id, { now: changes.touchedAt }),
          storedOf({ ...entry, ...changes }, { version: version + 1 })
        )
      }
    }),

  "saves over no other version": (store) =>
    Effect.gen(function*() {
      const id = newId()
      yield* store.create(id, entryOf(), start)
      yield* store.save(id, 1, changesOf("first"), start)
      const before = yield* store.load(id, { now: start })
      for (const version of [1, 3, 0, -1, 22]) {
        assert.strictEqual(yield* store.save(id, version, changesOf("second"), start), "conflict")
      }
      assert.deepStrictEqual(yield* store.load(id, { now: start }), before)
    }),

  "of many writers of one version one saves": (store) =>
    Effect.gen(function*() {
      const id = newId()
      yield* store.create(id, entryOf(), start)
      const outcomes = yield* atOnce(Arr.range(0, 49), (i) => store.save(id, 1, changesOf(`${i}`), start))
      assert.strictEqual(count(outcomes, "saved"), 1)
      assert.strictEqual(count(outcomes, "conflict"), 49)
      assert.deepInclude(yield* store.load(id, { now: start }), {
        payload: `${outcomes.indexOf("saved")}`,
        version: 2
      })
    }),

  "saves nothing that is gone": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const [destroyed, all, never] = [newId(), newId(), newId()]
      yield* store.create(destroyed, entryOf({ owner }), start)
      yield* store.destroy(destroyed, start)
      yield* store.create(all, entryOf({ owner }), start)
      yield* store.destroyAll(owner, { now: start })
      for (const id of [destroyed, all, never]) {
        assert.strictEqual(yield* store.save(id, 1, changesOf("back"), start), "missing")
        assert.isUndefined(yield* store.load(id, { now: start, touch }))
      }
      assert.deepStrictEqual(yield* store.list(owner, start), [])
    }),

  "of a save and a destroy at the same time nothing is left": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      yield* atOnce(Arr.range(1, 30), () =>
        Effect.gen(function*() {
          const id = newId()
          yield* store.create(id, entryOf({ owner }), start)
          yield* Effect.all([
            store.save(id, 1, changesOf("1"), start),
            store.destroy(id, start),
            store.save(id, 1, changesOf("2"), start)
          ], { concurrency: "unbounded" })
          assert.isUndefined(yield* store.load(id, { now: start }))
        }))
      assert.deepStrictEqual(yield* store.list(owner, start), [])
    }),

  "as many as load, save and try again are counted": (store, writers) =>
    Effect.gen(function*() {
      const id = newId()
      yield* store.create(id, entryOf({ payload: "0" }), start)
      const increment: Effect.Effect<void, SessionStore.SessionUnavailable> = Effect.gen(function*() {
        for (let outcome: SessionStore.Outcome = "conflict"; outcome !== "saved";) {
          const loaded = yield* store.load(id, { now: start, touch })
          if (loaded === undefined) return assert.fail("it is gone")
          outcome = yield* store.save(id, loaded.version, changesOf(`${Number(loaded.payload) + 1}`), start)
          assert.notStrictEqual(outcome, "missing")
        }
      })
      yield* atOnce(Arr.range(1, writers), () => increment)
      assert.deepInclude(yield* store.load(id, { now: start }), { payload: `${writers}`, version: writers + 1 })
    }),

  // --- rotated -------------------------------------------------------------------------------------------------------

  "puts another in the place of one, which can be read until it goes": (store) =>
    Effect.gen(function*() {
      const [before, after] = [newOwner(), newOwner()]
      const [old, id] = [newId(), newId()]
      const entry = entryOf({ owner: before })
      yield* store.create(old, entry, start)
      yield* store.save(old, 1, { ...entry, payload: "saved" }, start)
      const next = entryOf({ owner: after, payload: "next", createdAt: start + minute, touchedAt: start + minute })
      const [now, until] = [start + minute, start + 6 * minute]
      assert.strictEqual(yield* store.rotate({ id: old, version: 2 }, { id, entry: next }, { now, until }), "saved")

      assert.deepStrictEqual(yield* store.load(id, { now }), storedOf(next))
      assert.deepStrictEqual(yield* store.list(after, now), [{ ...storedOf(next), id }])
      assert.deepStrictEqual(yield* store.list(before, now), [])
      const superseded = storedOf(entry, { payload: "saved", version: 2, superseded: true, expiresAt: until })
      assert.deepStrictEqual(yield* store.load(old, { now }), superseded)
      assert.deepStrictEqual(yield* store.load(old, { now: until - 1, touch: { ...touch, every: 0 } }), superseded)
      assert.isUndefined(yield* store.load(old, { now: until }))
      assert.isDefined(yield* store.load(id, { now: until }))
    }),

  "keeps one that is superseded no longer than it would have lived": (store) =>
    Effect.gen(function*() {
      const { expiresAt } = entryOf()
      const [old, id] = [newId(), newId()]
      yield* store.create(old, entryOf(), start)
      const entry = entryOf({ expiresAt: expiresAt + 20 * minute })
      yield* store.rotate({ id: old, version: 1 }, { id, entry }, { now: start, until: expiresAt + 10 * minute })
      assert.deepInclude(yield* store.load(old, { now: expiresAt - 1 }), { expiresAt, superseded: true })
      assert.isUndefined(yield* store.load(old, { now: expiresAt }))
    }),

  "keeps none that is superseded where that is not wanted": (store) =>
    Effect.gen(function*() {
      for (const until of [start, start - minute, 0]) {
        const [old, id] = [newId(), newId()]
        const owner = newOwner()
        yield* store.create(old, entryOf({ owner }), start)
        const outcome = yield* store.rotate(
          { id: old, version: 1 },
          { id, entry: entryOf({ owner }) },
          { now: start, until }
        )
        assert.strictEqual(outcome, "saved")
        assert.isUndefined(yield* store.load(old, { now: start }))
        assert.strictEqual(yield* store.save(old, 1, changesOf("x"), start), "missing")
        assert.deepStrictEqual(idsOf(yield* store.list(owner, start)), [id])
      }
    }),

  "neither saves nor rotates one that is superseded": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const [old, id, lost] = [newId(), newId(), newId()]
      const entry = entryOf({ owner })
      const options = { now: start, until: start + 5 * minute }
      yield* store.create(old, entry, start)
      yield* store.rotate({ id: old, version: 1 }, { id, entry }, options)
      const before = yield* store.load(old, { now: start })
      for (const version of [1, 2]) {
        assert.strictEqual(yield* store.save(old, version, changesOf("x"), start), "conflict")
        assert.strictEqual(yield* store.rotate({ id: old, version }, { id: lost, entry }, options), "conflict")
      }
      assert.deepStrictEqual(yield* store.load(old, { now: start }), before)
      assert.isUndefined(yield* store.load(lost, { now: start }))
      assert.deepStrictEqual(idsOf(yield* store.list(owner, start)), [id])
    }),

  "rotates no other version, and nothing that is gone": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const [saved, destroyed, never, lost] = [newId(), newId(), newId(), newId()]
      const options = { now: start, until: start + 5 * minute }
      const rotate = (id: string) => store.rotate({ id, version: 1 }, { id: lost, entry: entryOf({ owner }) }, options)
      yield* store.create(saved, entryOf(), start)
      yield* store.save(saved, 1, changesOf("saved"), start)
      yield* store.create(destroyed, entryOf(), start)
      yield* store.destroy(destroyed, start)
      assert.deepStrictEqual(
        yield* Effect.forEach([saved, destroyed, never], rotate),
        ["conflict", "missing", "missing"]
      )
      assert.deepInclude(yield* store.load(saved, { now: start }), { payload: "saved", superseded: false })
      assert.isUndefined(yield* store.load(destroyed, { now: start }))
      assert.isUndefined(yield* store.load(lost, { now: start }))
      assert.deepStrictEqual(yield* store.list(owner, start), [])
      assert.strictEqual(yield* store.destroyAll(owner, { now: start }), 0)
    }),

  "puts none in the place of another that is there": (store) =>
    Effect.gen(function*() {
      const [one, two] = [newId(), newId()]
      const owner = newOwner()
      yield* store.create(one, entryOf({ payload: "1" }), start)
      yield* store.create(two, entryOf({ payload: "2" }), start)
      const to = (id: string) => ({ id, entry: entryOf({ payload: "3", owner }) })
      const options = { now: start, until: start + minute }
      assert.strictEqual(yield* store.rotate({ id: one, version: 1 }, to(two), options), "conflict")
      assert.strictEqual(yield* store.rotate({ id: one, version: 1 }, to(one), options), "conflict")
      assert.deepStrictEqual(yield* store.load(one, { now: start }), storedOf(entryOf({ payload: "1" })))
      assert.deepStrictEqual(yield* store.load(two, { now: start }), storedOf(entryOf({ payload: "2" })))
      assert.deepStrictEqual(yield* store.list(owner, start), [])
    }),

  "of many that rotate one version one does, and nothing is left of the others": (store) =>
    Effect.gen(function*() {
      for (const grace of [5 * minute, 0]) {
        const owner = newOwner()
        const old = newId()
        yield* store.create(old, entryOf({ owner }), start)
        const ids = Arr.makeBy(20, newId)
        const outcomes = yield* atOnce(ids, (id) =>
          store.rotate(
            { id: old, version: 1 },
            { id, entry: entryOf({ owner, payload: id }) },
            { now: start, until: start + grace }
          ))
        assert.strictEqual(count(outcomes, "saved"), 1)
        // where the old one is gone at once, who comes late finds none
        assert.strictEqual(count(outcomes, grace > 0 ? "conflict" : "missing"), 19)
        const winner = ids[outcomes.indexOf("saved")] ?? ""
        const left = yield* Effect.filter(ids, (id) =>
          Effect.map(store.load(id, { now: start }), (it) => it !== undefined))
        assert.deepStrictEqual(left, [winner])
        assert.deepStrictEqual(idsOf(yield* store.list(owner, start)), [winner])
        assert.strictEqual(yield* store.destroyAll(owner, { now: start }), 1)
      }
    }),

  "of a save and a rotation of one version one succeeds": (store) =>
    atOnce(Arr.range(1, 20), (i) =>
      Effect.gen(function*() {
        const [old, id] = [newId(), newId()]
        yield* store.create(old, entryOf(), start)
        const save = store.save(old, 1, changesOf("saved"), start)
        const rotate = store.rotate({ id: old, version: 1 }, { id, entry: entryOf() }, {
          now: start,
          until: start + 5 * minute
        })
        const outcomes = yield* Effect.all(i % 2 === 0 ? [save, rotate] : [rotate, save], { concurrency: "unbounded" })
        assert.deepStrictEqual([...outcomes].sort(), ["conflict", "saved"])
        const rotated = yield* store.load(id, { now: start })
        assert.deepInclude(yield* store.load(old, { now: start }), {
          superseded: rotated !== undefined,
          payload: rotated === undefined ? "saved" : entryOf().payload
        })
      })).pipe(Effect.asVoid),

  "of a rotation and a destroy at the same time nothing is left": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      yield* atOnce(Arr.range(1, 30), (i) =>
        Effect.gen(function*() {
          const [old, id] = [newId(), newId()]
          const entry = entryOf({ owner })
          yield* store.create(old, entry, start)
          const destroy = store.destroy(old, start)
          const rotate = Effect.asVoid(
            store.rotate({ id: old, version: 1 }, { id, entry }, { now: start, until: start + 5 * minute })
          )
          yield* Effect.all(i % 2 === 0 ? [destroy, rotate] : [rotate, destroy], { concurrency: "unbounded" })
          assert.isUndefined(yield* store.load(old, { now: start }))
          assert.isUndefined(yield* store.load(id, { now: start }))
        }))
      assert.deepStrictEqual(yield* store.list(owner, start), [])
    }),

  // --- destroyed -----------------------------------------------------------------------------------------------------

  "destroys one, and nothing where there is none": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const [id, other] = [newId(), newId()]
      yield* store.create(id, entryOf({ owner }), start)
      yield* store.create(other, entryOf({ owner }), start)
      yield* store.destroy(id, start)
      yield* store.destroy(id, start)
      yield* store.destroy(newId(), start)
      assert.isUndefined(yield* store.load(id, { now: start, touch }))
      assert.deepStrictEqual(idsOf(yield* store.list(owner, start)), [other])
      assert.isTrue(yield* store.create(id, entryOf({ payload: "again" }), start))
      assert.deepStrictEqual(yield* store.load(id, { now: start }), storedOf(entryOf({ payload: "again" })))
    }),

  "destroys with one that is superseded the one in its place": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const entry = entryOf({ owner })
      for (const length of [2, 3, 5]) {
        for (const from of [0, length - 2]) {
          const ids = Arr.makeBy(length, newId)
          yield* store.create(ids[0] ?? "", entry, start)
          for (let i = 1; i < length; i++) {
            const outcome = yield* store.rotate(
              { id: ids[i - 1] ?? "", version: 1 },
              { id: ids[i] ?? "", entry },
              { now: start, until: start + 5 * minute }
            )
            assert.strictEqual(outcome, "saved")
          }
          yield* store.destroy(ids[from] ?? "", start)
          for (const [i, id] of ids.entries()) {
            const loaded = yield* store.load(id, { now: start })
            assert.strictEqual(loaded === undefined, i >= from, `${i} of ${length}, from ${from}`)
          }
          assert.deepStrictEqual(yield* store.list(owner, start), [])
        }
      }
    }),

  "destroys with one that was superseded and has expired none": (store) =>
    Effect.gen(function*() {
      const [old, id] = [newId(), newId()]
      const until = start + 5 * minute
      yield* store.create(old, entryOf(), start)
      yield* store.rotate({ id: old, version: 1 }, { id, entry: entryOf() }, { now: start, until })
      yield* store.destroy(old, until)
      assert.isDefined(yield* store.load(id, { now: until }))
      // nor does another by that identifier lead there
      yield* store.create(old, entryOf(), until)
      yield* store.destroy(old, until)
      assert.isDefined(yield* store.load(id, { now: until }))
    }),

  // --- of an owner ---------------------------------------------------------------------------------------------------

  "lists those of an owner, the last used first": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const [a, b, c] = [newId(), newId(), newId()]
      const at = (touchedAt: number) => entryOf({ owner, touchedAt })
      assert.deepStrictEqual(yield* store.list(owner, start), [])
      yield* store.create(b, at(start + 2 * minute), start)
      yield* store.create(a, at(start + minute), start)
      yield* store.create(c, at(start + 9 * minute), start)
      yield* store.create(newId(), entryOf(), start)
      yield* store.create(newId(), entryOf({ owner: newOwner() }), start)
      assert.deepStrictEqual(yield* store.list(owner, start), [
        { ...storedOf(at(start + 9 * minute)), id: c },
        { ...storedOf(at(start + 2 * minute)), id: b },
        { ...storedOf(at(start + minute)), id: a }
      ])
      yield* store.save(a, 1, changesOf("saved", start + 10 * minute), start + 10 * minute)
      yield* store.load(b, { now: start + 11 * minute, touch })
      assert.deepStrictEqual(idsOf(yield* store.list(owner, start + 11 * minute)), [b, a, c])
    }),

  "lists and destroys what has been extended, to its end": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const id = newId()
      const entry = entryOf({ owner })
      yield* store.create(id, entry, start)
      for (let now = start + 15 * minute; now < entry.endsAt; now += 15 * minute) {
        yield* store.load(id, { now, touch })
      }
      // the index of an owner is written again as others come
      const now = entry.endsAt - minute
      yield* store.create(newId(), entryOf({ owner, expiresAt: now }), now - minute)
      assert.deepStrictEqual(idsOf(yield* store.list(owner, now)), [id])
      assert.strictEqual(yield* store.destroyAll(owner, { now }), 1)
      assert.isUndefined(yield* store.load(id, { now }))
    }),

  "destroys all of an owner but one, and counts what was listed": (store) =>
    Effect.gen(function*() {
      const [owner, other] = [newOwner(), newOwner()]
      const entry = entryOf({ owner })
      const [kept, old, rotated, expired, foreign] = [newId(), newId(), newId(), newId(), newId()]
      const others = Arr.makeBy(5, newId)
      for (const id of [kept, old, ...others]) yield* store.create(id, entry, start)
      yield* store.create(expired, entryOf({ owner, expiresAt: start + minute }), start)
      yield* store.create(foreign, entryOf({ owner: other }), start)
      const now = start + minute
      yield* store.rotate({ id: old, version: 1 }, { id: rotated, entry }, { now, until: now + 5 * minute })

      assert.strictEqual(yield* store.destroyAll(owner, { now, except: kept }), 6)
      assert.deepStrictEqual(idsOf(yield* store.list(owner, now)), [kept])
      for (const id of [old, rotated, ...others]) {
        assert.isUndefined(yield* store.load(id, { now }))
        assert.strictEqual(yield* store.save(id, 1, changesOf("back"), now), "missing")
      }
      assert.deepStrictEqual(yield* store.load(kept, { now }), storedOf(entry))
      assert.strictEqual(yield* store.destroyAll(owner, { now, except: kept }), 0)
      assert.strictEqual(yield* store.destroyAll(owner, { now, except: newId() }), 1)
      assert.strictEqual(yield* store.destroyAll(owner, { now }), 0)
      assert.isDefined(yield* store.load(foreign, { now }))
    }),

  "of many that destroy all at the same time each session is counted once": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      yield* atOnce(Arr.range(1, 20), () => store.create(newId(), entryOf({ owner }), start))
      assert.lengthOf(yield* store.list(owner, start), 20)
      const counts = yield* atOnce(Arr.range(1, 5), () => store.destroyAll(owner, { now: start }))
      assert.strictEqual(counts.reduce((sum, n) => sum + n, 0), 20)
      assert.deepStrictEqual(yield* store.list(owner, start), [])
    }),

  "takes any text for an owner, and no two for one": (store) =>
    Effect.gen(function*() {
      const prefix = newOwner()
      const owners = oddities.map((oddity) => ({ owner: prefix + oddity, id: newId() }))
      for (const { id, owner } of owners) yield* store.create(id, entryOf({ owner }), start)
      for (const [i, { id, owner }] of owners.entries()) {
        assert.deepStrictEqual(yield* store.list(owner, start), [{ ...storedOf(entryOf({ owner })), id }], owner)
        for (let n = 0; n < i % 4; n++) {
          yield* store.advanceEpoch(owner, { now: start, expiresAt: start + 20 * minute })
        }
      }
      for (const [i, { owner }] of owners.entries()) assert.strictEqual(yield* store.epoch(owner, start), i % 4, owner)
      for (const { id, owner } of owners) {
        assert.strictEqual(yield* store.destroyAll(owner, { now: start }), 1, owner)
        assert.isUndefined(yield* store.load(id, { now: start }))
      }
      // without an owner, and with an empty one, which all tests share
      const [none, empty] = [newId(), newId()]
      yield* store.create(none, entryOf(), start)
      yield* store.create(empty, entryOf({ owner: "" }), start)
      assert.deepStrictEqual(yield* store.load(none, { now: start }), storedOf(entryOf()))
      assert.deepStrictEqual(yield* store.load(empty, { now: start }), storedOf(entryOf({ owner: "" })))
      const listed = idsOf(yield* store.list("", start))
      assert.deepStrictEqual([listed.includes(none), listed.includes(empty)], [false, true])
      yield* store.destroy(empty, start)
    }),

  // --- payloads ------------------------------------------------------------------------------------------------------

  "takes any text for a payload": (store) =>
    Effect.gen(function*() {
      const payloads = [
        ...oddities,
        "null",
        "0",
        "undefined",
        "[]",
        "{\"a\":\"\\u0000\"}",
        "é😀".repeat(1_000),
        "\ufeff"
      ]
      for (const payload of payloads) {
        const [id, next] = [newId(), newId()]
        yield* store.create(id, entryOf({ payload }), start)
        assert.strictEqual((yield* store.load(id, { now: start }))?.payload, payload)
        yield* store.save(id, 1, { ...entryOf(), payload: payload + payload }, start)
        assert.strictEqual((yield* store.load(id, { now: start }))?.payload, payload + payload)
        yield* store.rotate({ id, version: 2 }, { id: next, entry: entryOf({ payload }) }, {
          now: start,
          until: start + minute
        })
        assert.strictEqual((yield* store.load(id, { now: start }))?.payload, payload + payload)
        assert.strictEqual((yield* store.load(next, { now: start }))?.payload, payload)
      }
    }),

  "takes a payload of a megabyte": (store) =>
    Effect.gen(function*() {
      const id = newId()
      const payload = "0123456789abcdef".repeat(65_536)
      yield* store.create(id, entryOf({ payload: "" }), start)
      assert.strictEqual(yield* store.save(id, 1, changesOf(payload), start), "saved")
      assert.isTrue((yield* store.load(id, { now: start }))?.payload === payload)
      yield* store.destroy(id, start)
    }),

  "takes text that is no well-formed Unicode": (store) =>
    Effect.gen(function*() {
      const prefix = newOwner()
      const ids = new Map<string, string>()
      for (const odd of ["\ud800", "\udc00", "a\udfffb", "\udc00\ud800", "\ufffd"]) {
        const id = newId()
        ids.set(odd, id)
        yield* store.create(id, entryOf({ payload: odd, owner: prefix + odd }), start)
      }
      for (const [odd, id] of ids) {
        const entry = entryOf({ payload: odd, owner: prefix + odd })
        assert.deepStrictEqual(yield* store.load(id, { now: start }), storedOf(entry))
        assert.deepStrictEqual(idsOf(yield* store.list(prefix + odd, start)), [id])
      }
    }),

  // --- epochs --------------------------------------------------------------------------------------------------------

  "counts the epochs of an owner, from 0": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const options = { now: start, expiresAt: start + 20 * minute }
      assert.strictEqual(yield* store.epoch(owner, start), 0)
      for (const number of [1, 2, 3]) {
        assert.strictEqual(yield* store.advanceEpoch(owner, options), number)
        assert.strictEqual(yield* store.epoch(owner, start), number)
      }
      assert.strictEqual(yield* store.epoch(newOwner(), start), 0)
      yield* store.create(newId(), entryOf({ owner }), start)
      yield* store.destroyAll(owner, { now: start })
      assert.strictEqual(yield* store.epoch(owner, start), 3)
    }),

  "keeps an epoch until its expiry, and not at it": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const expiresAt = start + 20 * minute
      yield* store.advanceEpoch(owner, { now: start, expiresAt })
      assert.strictEqual(yield* store.advanceEpoch(owner, { now: expiresAt - minute, expiresAt }), 2)
      assert.strictEqual(yield* store.epoch(owner, expiresAt - 1), 2)
      assert.strictEqual(yield* store.epoch(owner, expiresAt), 0)
      assert.strictEqual(yield* store.advanceEpoch(owner, { now: expiresAt, expiresAt: expiresAt + minute }), 1)
      assert.strictEqual(yield* store.epoch(owner, expiresAt), 1)
    }),

  "keeps an epoch as long as any of its advances asks for": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const late = start + 20 * minute
      yield* store.advanceEpoch(owner, { now: start, expiresAt: late })
      assert.strictEqual(yield* store.advanceEpoch(owner, { now: start, expiresAt: start + minute }), 2)
      assert.strictEqual(yield* store.epoch(owner, late - 1), 2)
      yield* store.advanceEpoch(owner, { now: start, expiresAt: late + minute })
      assert.strictEqual(yield* store.epoch(owner, late), 3)
      assert.strictEqual(yield* store.epoch(owner, late + minute), 0)
    }),

  "fifty advances at the same time are fifty": (store) =>
    Effect.gen(function*() {
      const owner = newOwner()
      const numbers = yield* atOnce(
        Arr.range(1, 50),
        () => store.advanceEpoch(owner, { now: start, expiresAt: start + 20 * minute })
      )
      assert.deepStrictEqual([...numbers].sort((a, b) => a - b), Arr.range(1, 50))
      assert.strictEqual(yield* store.epoch(owner, start), 50)
    })
} as const satisfies Record<string, Test>
