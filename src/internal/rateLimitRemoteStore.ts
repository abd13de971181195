/** What stands before a store that is elsewhere: it is not asked while it is dead, nor about what it has refused. */
import * as Effect from "effect/Effect"
import type { Bucket, Decision, Limits, RateLimitUnavailable, Service } from "../RateLimitStore.js"
import { makeAsk } from "./askStore.js"
import { nameOf } from "./limits.js"

/** After as long a refusal is asked about again: somebody may have reset the key elsewhere. */
const recheck = 5000

type Unavailable = (operation: string) => (cause: unknown) => RateLimitUnavailable

export const remote = (capacity: number | false = 10_000) => {
  if (capacity !== false && (!Number.isSafeInteger(capacity) || capacity < 1)) {
    throw new RangeError(`RateLimitStore: refuseLocally is ${capacity}: write how many keys to remember, or false`)
  }
  return (store: Service, unavailable: Unavailable): Service => {
    const ask = makeAsk(unavailable)
    const known = capacity === false ? nothing : makeKnown(capacity)
    return {
      consume: (bucket, options) =>
        Effect.clockWith((clock) => {
          const { cost } = options
          // who gives the time wants to be told by it
          if (options.now !== undefined) return ask("consume", clock, store.consume(bucket, options))
          const name = nameOf(bucket)
          const decision = known.get(name, bucket, cost, clock.unsafeCurrentTimeMillis())
          if (decision !== undefined) return Effect.succeed(decision)
          return ask("consume", clock, store.consume(bucket, options), (decision) =>
            known.set(name, { limits: bucket.limits, cost, decision, at: clock.unsafeCurrentTimeMillis() }))
        }),
      peek: (bucket, options) => Effect.clockWith((clock) => ask("peek", clock, store.peek(bucket, options))),
      refund: (bucket, options) =>
        Effect.clockWith((clock) =>
          ask("refund", clock, store.refund(bucket, options), () => known.delete(nameOf(bucket)))
        ),
      reset: (bucket) =>
        Effect.clockWith((clock) => ask("reset", clock, store.reset(bucket), () => known.delete(nameOf(bucket))))
    }
  }
}

/** Keys for which there was no room, and when that was. */
interface Known {
  /** What was decided, as of now; `undefined` where it has to be asked. */
  readonly get: (name: string, bucket: Bucket, cost: number, now: number) => Decision | undefined
  readonly set: (name: string, entry: Refused) => void
  readonly delete: (name: string) => void
}
const nothing: Known = { get: () => undefined, set: () => {}, delete: () => {} }

interface Refused {
  readonly limits: Limits
  readonly cost: number
  readonly decision: Decision
  readonly at: number
}

const makeKnown = (capacity: number): Known => {
  const refused = new Map<string, Refused>()
  return {
    get: (name, { limits }, cost, now) => {
      const found = refused.get(name)
      if (found === undefined) return undefined
      const passed = now - found.at
      if (passed < 0 || passed >= Math.min(recheck, found.decision.retryAfter) || found.limits !== limits) {
        refused.delete(name)
        return undefined
      }
      return cost < found.cost ? undefined : later(found.decision, passed)
    },
    set: (name, entry) => {
      const { decision: { allowed, banned, retryAfter }, limits } = entry
      // of one that may be banned each refusal counts
      if (allowed || retryAfter === Infinity || (limits.ban !== undefined && !banned)) return
      refused.delete(name)
      if (refused.size >= capacity) {
        for (const oldest of refused.keys()) {
          refused.delete(oldest)
          break
        }
      }
      refused.set(name, entry)
    },
    delete: (name) => void refused.delete(name)
  }
}

const later = (decision: Decision, passed: number): Decision => ({
  ...decision,
  now: decision.now + passed,
  retryAfter: decision.retryAfter - passed,
  limits: decision.limits.map(({ remaining, resetAfter }) => ({
    remaining,
    resetAfter: Math.max(0, resetAfter - passed)
  }))
})
