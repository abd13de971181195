/** Sessions in the memory of one process. */
import * as Effect from "effect/Effect"
import type { Entry, Outcome, Service, Stored, Touch } from "../SessionStore.js"
import { recency } from "./recency.js"
import * as rules from "./sessionRules.js"

export const make = (capacity: number): Service => {
  const sessions = makeSessions(capacity)
  const epochs = makeEpochs(capacity)
  return {
    load: (id, { now, touch }) => Effect.sync(() => sessions.load(id, now, touch)),
    create: (id, entry, now) => Effect.sync(() => sessions.create(id, entry, now)),
    save: (id, version, changes, now) => Effect.sync(() => sessions.save(id, version, changes, now)),
    rotate: (from, to, options) => Effect.sync(() => sessions.rotate(from, to, options)),
    destroy: (id, now) => Effect.sync(() => sessions.destroy(id, now)),
    list: (owner, now) => Effect.sync(() => sessions.list(owner, now)),
    destroyAll: (owner, options) => Effect.sync(() => sessions.destroyAll(owner, options)),
    epoch: (owner, now) => Effect.sync(() => epochs.current(owner, now)),
    advanceEpoch: (owner, options) => Effect.sync(() => epochs.advance(owner, options))
  }
}

const makeSessions = (capacity: number) => {
  const sessions = lru<Stored>(capacity, forget)
  /** What has taken the place of those that are superseded. */
  const successors = new Map<string, string>()
  const owners = new Map<string, Set<string>>()

  /** Entries never change: another is set in their place, and callers are given the same object. */
  const insert = (id: string, entry: Entry, now: number) => {
    sessions.set(id, rules.created(entry))
    if (entry.owner !== undefined) {
      const owned = owners.get(entry.owner)
      if (owned === undefined) owners.set(entry.owner, new Set([id]))
      else owned.add(id)
    }
    sessions.shrink(now)
  }
  const remove = (id: string, entry: Stored) => {
    sessions.delete(id)
    forget(id, entry)
  }
  function forget(id: string, entry: Stored) {
    successors.delete(id)
    unown(id, entry)
  }
  const unown = (id: string, { owner }: Stored) => {
    if (owner === undefined) return
    const owned = owners.get(owner)
    owned?.delete(id)
    if (owned?.size === 0) owners.delete(owner)
  }

  const live = (id: string, now: number): Stored | undefined => {
    const entry = sessions.peek(id)
    if (entry === undefined || entry.expiresAt > now) return entry
    remove(id, entry)
    return undefined
  }
  const seen = (id: string, version: number, now: number): Stored | "missing" | "conflict" => {
    const entry = live(id, now)
    if (entry === undefined) return "missing"
    return rules.isOpen(entry, version) ? entry : "conflict"
  }
  const ownedBy = (owner: string, now: number) =>
    Array.from(owners.get(owner) ?? []).flatMap((id) => {
      const entry = live(id, now)
      return entry === undefined ? [] : [{ ...entry, id }]
    })

  return {
    load: (id: string, now: number, touch: Touch | undefined) => {
      const entry = live(id, now)
      if (entry === undefined) return undefined
      const used = rules.used(entry, now, touch)
      sessions.set(id, used)
      return used
    },
    create: (id: string, entry: Entry, now: number) => {
      if (live(id, now) !== undefined) return false
      insert(id, entry, now)
      return true
    },
    save: (
      id: string,
      version: number,
      changes: Pick<Entry, "payload" | "touchedAt" | "expiresAt">,
      now: number
    ): Outcome => {
      const entry = seen(id, version, now)
      if (typeof entry === "string") return entry
      sessions.set(id, rules.saved(entry, changes))
      return "saved"
    },
    rotate: (
      from: { readonly id: string; readonly version: number },
      to: { readonly id: string; readonly entry: Entry },
      { now, until }: { readonly now: number; readonly until: number }
    ): Outcome => {
      const entry = seen(from.id, from.version, now)
      if (typeof entry === "string") return entry
      if (live(to.id, now) !== undefined) return "conflict"
      if (until > now) {
        sessions.set(from.id, rules.superseded(entry, until))
        successors.set(from.id, to.id)
      } else remove(from.id, entry)
      insert(to.id, to.entry, now)
      return "saved"
    },
    destroy: (id: string, now: number) => {
      for (let next: string | undefined = id; next !== undefined;) {
        const entry = live(next, now)
        if (entry === undefined) return
        const successor = successors.get(next)
        remove(next, entry)
        next = successor
      }
    },
    list: (owner: string, now: number) =>
      ownedBy(owner, now).filter(({ superseded }) => !superseded).sort((a, b) => b.touchedAt - a.touchedAt),
    destroyAll: (
      owner: string,
      { except, now }: { readonly now: number; readonly except?: string | undefined }
    ) => {
      const others = ownedBy(owner, now).filter(({ id }) => id !== except)
      for (const { id, ...entry } of others) remove(id, entry)
      return others.filter(({ superseded }) => !superseded).length
    }
  }
}

const makeEpochs = (capacity: number) => {
  const epochs = lru<rules.Epoch>(capacity, () => {})
  const current = (owner: string, now: number) => {
    const epoch = epochs.peek(owner)
    if (epoch === undefined || epoch.expiresAt > now) return epoch
    epochs.delete(owner)
    return undefined
  }
  return {
    current: (owner: string, now: number) => {
      const epoch = current(owner, now)
      if (epoch === undefined) return 0
      epochs.set(owner, epoch)
      return epoch.number
    },
    advance: (owner: string, { expiresAt, now }: { readonly now: number; readonly expiresAt: number }) => {
      const epoch = rules.advanced(current(owner, now), expiresAt)
      epochs.set(owner, epoch)
      epochs.shrink(now)
      return epoch.number
    }
  }
}

/** What has not been used for longest makes room. */
const lru = <A extends { readonly expiresAt: number }>(capacity: number, forget: (key: string, value: A) => void) => {
  const map = recency<A>()
  return {
    ...map,
    /** After one has come: takes out what is too much, and of what has expired twice as many as come. */
    shrink: (now: number) => {
      for (let i = 0; i < 2; i++) {
        const key = map.oldest()
        const value = key === undefined ? undefined : map.peek(key)
        if (key === undefined || value === undefined || (map.size() <= capacity && value.expiresAt > now)) return
        map.delete(key)
        forget(key, value)
      }
    }
  }
}
