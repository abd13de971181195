/** Responses in the memory of one process, in plain code. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Entry, Found, Put, Service, VariantOf } from "../ResponseCacheStore.js"
import { digest } from "./digest.js"
import { recency } from "./recency.js"

interface Kept {
  readonly key: string
  readonly variant: string
  readonly entry: Entry
  readonly tags: ReadonlyArray<string>
  readonly expiresAt: number
  readonly size: number
}

interface Resource {
  readonly vary: ReadonlyArray<string>
  readonly ids: Set<string>
}

export const make = (maxSize: number): Service => {
  const kept = recency<Kept>()
  const resources = new Map<string, Resource>()
  const tagged = new Map<string, Set<string>>()
  const purged = makePurged()
  let size = 0

  const remove = (id: string) => {
    const found = kept.peek(id)
    if (found === undefined) return
    kept.delete(id)
    size -= found.size
    const resource = resources.get(found.key)
    resource?.ids.delete(id)
    if (resource?.ids.size === 0) resources.delete(found.key)
    for (const tag of found.tags) {
      const ids = tagged.get(tag)
      ids?.delete(id)
      if (ids?.size === 0) tagged.delete(tag)
    }
  }
  const removeAll = (ids: Iterable<string> = []) => Array.from(ids).forEach(remove)

  const get = (key: string, variantOf: VariantOf, now: number): Found => {
    const resource = resources.get(key)
    const asOf = purged.now()
    if (resource === undefined) return { vary: [], entry: undefined, asOf }
    const { vary } = resource
    const id = idOf(key, variantOf(vary))
    const found = kept.peek(id)
    if (found === undefined) return { vary, entry: undefined, asOf }
    if (found.expiresAt <= now) {
      remove(id)
      return { vary, entry: undefined, asOf }
    }
    kept.set(id, found)
    return { vary, entry: found.entry, asOf }
  }

  const put = (key: string, { asOf, entry, tags, ttl, variant, vary }: Put, now: number): boolean => {
    const id = idOf(key, variant)
    const most = sizeOf(id, entry, tags)
    if (most > maxSize || purged.since(asOf, key, tags)) return false
    const known = resources.get(key)
    if (known !== undefined && !isSame(known.vary, vary)) removeAll(known.ids)
    else remove(id)
    const resource = resources.get(key) ?? { vary, ids: new Set() }
    resources.set(key, resource)
    resource.ids.add(id)
    for (const tag of tags) {
      const ids = tagged.get(tag)
      if (ids === undefined) tagged.set(tag, new Set([id]))
      else ids.add(id)
    }
    kept.set(id, { key, variant, entry, tags, expiresAt: now + ttl, size: most })
    size += most
    while (size > maxSize) remove(kept.oldest()!)
    return true
  }

  return {
    get: (key, variantOf) => Effect.map(Clock.currentTimeMillis, (now) => get(key, variantOf, now)),
    put: (key, given) => Effect.map(Clock.currentTimeMillis, (now) => put(key, given, now)),
    delete: (key) =>
      Effect.sync(() => {
        purged.add(`k${key}`)
        removeAll(resources.get(key)?.ids)
      }),
    purge: (tag) =>
      Effect.sync(() => {
        purged.add(`t${tag}`)
        removeAll(tagged.get(tag))
      }),
    sync: { get }
  }
}

/** A key has no line feed, since no URL has. */
const idOf = (key: string, variant: string) => `${key}\n${variant}`

const isSame = (a: ReadonlyArray<string>, b: ReadonlyArray<string>) =>
  a.length === b.length && a.every((name, i) => name === b[i])

/** About what it takes, with the objects around it. */
const sizeOf = (id: string, { body, headers }: Entry, tags: ReadonlyArray<string>): number => {
  let size = 500 + body.byteLength + id.length * 2
  for (const name in headers) size += 50 + name.length + headers[name]!.length
  for (const tag of tags) size += 100 + tag.length
  return size
}

/**
 * What has been purged lately, so that nobody stores what was made before. Of what is forgotten of it, everything counts as
 * purged.
 */
const makePurged = (most = 10_000) => {
  const purges = new Map<string, number>()
  let [now, forgotten] = [0, 0]
  return {
    now: () => now,
    add: (of: string) => {
      // as long as a URL may be, so many of them would be a load
      const name = digest(of)
      purges.delete(name)
      purges.set(name, ++now)
      if (purges.size <= most) return
      for (const [oldest, at] of purges) {
        purges.delete(oldest)
        forgotten = at
        break
      }
    },
    since: (asOf: number, key: string, tags: ReadonlyArray<string>): boolean => {
      // mostly nothing was purged in the meantime
      if (now <= asOf) return false
      const isAfter = (name: string) => (purges.get(digest(name)) ?? 0) > asOf
      return forgotten > asOf || isAfter(`k${key}`) || tags.some((tag) => isAfter(`t${tag}`))
    }
  }
}
