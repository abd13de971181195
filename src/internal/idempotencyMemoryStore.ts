/** Idempotency keys in the memory of one process, in plain code. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Answer, Claim, IdempotencyUnavailable, Outcome, Service, Terms } from "../IdempotencyStore.js"
import { recency } from "./recency.js"

interface Kept {
  readonly fingerprint: string
  readonly token: number
  readonly answer: Answer | undefined
  /** Times are milliseconds. */
  readonly leasedUntil: number
  readonly expiresAt: number
  readonly size: number
}

const inProgress: Outcome = { _tag: "InProgress" }
const reused: Outcome = { _tag: "Reused" }

export const make = (
  maxSize: number,
  unavailable: (operation: string) => (cause: unknown) => IdempotencyUnavailable
): Service => {
  const kept = recency<Kept>()
  let size = 0

  const isBusy = ({ answer, leasedUntil }: Kept, now: number) => answer === undefined && leasedUntil > now

  /** What was answered longest ago goes first, and what somebody works on never. */
  const makeRoom = (bytes: number, now: number): boolean => {
    for (let left = kept.size(); size + bytes > maxSize && left > 0; left--) {
      const oldest = kept.oldest()!
      const found = kept.peek(oldest)!
      if (isBusy(found, now)) kept.set(oldest, found)
      else remove(oldest, found)
    }
    return size + bytes <= maxSize
  }
  const remove = (key: string, { size: bytes }: Kept) => {
    kept.delete(key)
    size -= bytes
  }
  const put = (key: string, value: Omit<Kept, "size">, now: number): boolean => {
    const before = kept.peek(key)
    if (before !== undefined) remove(key, before)
    const bytes = sizeOf(key, value.answer)
    const fits = makeRoom(bytes, now)
    const stays = fits ? { ...value, size: bytes } : before
    if (stays !== undefined) {
      kept.set(key, stays)
      size += stays.size
    }
    return fits
  }

  const claim = (key: string, { fingerprint, lease, ttl }: Terms, now: number): Outcome | undefined => {
    const found = kept.peek(key)
    if (found !== undefined && found.expiresAt > now) {
      if (found.fingerprint !== fingerprint) return reused
      if (found.answer !== undefined) return { _tag: "Answered", answer: found.answer }
      if (found.leasedUntil > now) return inProgress
    }
    const token = Math.max((found?.token ?? 0) + 1, now * 1000)
    const until = { leasedUntil: now + lease, expiresAt: now + Math.max(ttl, lease) }
    return put(key, { fingerprint, token, answer: undefined, ...until }, now) ? { _tag: "Claimed", token } : undefined
  }

  /** What is kept of a claim that is still one's own, and not answered. */
  const own = ({ key, token }: Claim): Kept | undefined => {
    const found = kept.peek(key)
    return found?.token === token && found.answer === undefined ? found : undefined
  }
  const change = (claim: Claim, changes: (found: Kept) => Partial<Kept>): boolean => {
    const found = own(claim)
    if (found === undefined) return false
    kept.set(claim.key, { ...found, ...changes(found) })
    return true
  }

  const complete = ({ fingerprint, key, token }: Claim, answer: Answer, ttl: number, now: number): boolean => {
    const found = kept.peek(key)
    if (found !== undefined && found.token !== token) return false
    const value = { fingerprint, token, leasedUntil: 0, expiresAt: now + ttl }
    // that it is done is known where there is no room for the answer
    return put(key, { ...value, answer }, now) ||
      put(key, { ...value, answer: { ...answer, headers: {}, cookies: [], body: none, whole: false } }, now)
  }

  const within = <A>(operation: string, f: (now: number) => A | undefined): Effect.Effect<A, IdempotencyUnavailable> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const result = f(now)
      return result === undefined
        ? Effect.fail(unavailable(operation)(new Error("Everything that is kept is a claim that somebody works on")))
        : Effect.succeed(result)
    })

  return {
    claim: (key, terms) => within("claim", (now) => claim(key, terms, now)),
    renew: (claim, lease) =>
      within("renew", (now) =>
        change(claim, ({ expiresAt }) => ({
          leasedUntil: now + lease,
          expiresAt: Math.max(expiresAt, now + lease)
        }))),
    complete: (claim, answer, ttl) => within("complete", (now) => complete(claim, answer, ttl, now)),
    release: (claim) => within("release", () => change(claim, () => ({ leasedUntil: 0 })))
  }
}

const none = new Uint8Array(0)

/** About what it takes, with the objects around it. */
const sizeOf = (key: string, answer: Answer | undefined): number => {
  let size = 500 + key.length * 2
  if (answer === undefined) return size
  size += answer.body.byteLength
  for (const name in answer.headers) size += 50 + name.length + answer.headers[name]!.length
  for (const cookie of answer.cookies) size += 50 + cookie.length
  return size
}
