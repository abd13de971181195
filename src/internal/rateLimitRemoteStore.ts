/** What stands before a store that is elsewhere: it is not asked while it is dead, nor about what it has refused. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Bucket, Decision, Limits, RateLimitUnavailable, Service } from "../RateLimitStore.js"
import * as circuits from "./circuit.js"
import { nameOf } from "./limits.js"

/** After as long a refusal is asked about again: somebody may have reset the key elsewhere. */
const recheck = 5000

export const remote = (capacity: number | false = 10_000) => {
  if (capacity !== false && (!Number.isSafeInteger(capacity) || capacity < 1)) {
    throw new RangeError(`RateLimitStore: refuseLocally is ${capacity}: write how many keys to remember, or false`)
  }
  return (store: Service, unavailable: (operation: string) => (cause: unknown) => RateLimitUnavailable): Service => {
    const guarded = guard(store, unavailable)
    return capacity === false ? guarded : remembering(guarded, capacity)
  }
}

const guard = (
  store: Service,
  unavailable: (operation: string) => (cause: unknown) => RateLimitUnavailable
): Service => {
  const circuit = circuits.make({ failures: 5, first: 1000, most: 30_000 })
  const ask = <A>(
    operation: string,
    effect: Effect.Effect<A, RateLimitUnavailable>
  ): Effect.Effect<A, RateLimitUnavailable> =>
    Effect.clockWith((clock) => {
      if (!circuit.mayAsk(millis(clock))) {
        return Effect.fail(unavailable(operation)(new Error("It has failed too often, and is left alone for a while")))
      }
      return Effect.onExit(effect, (exit) =>
        Effect.sync(() => {
          if (Exit.isSuccess(exit)) circuit.succeeded()
          else if (Exit.isInterrupted(exit)) circuit.abandoned()
          else circuit.failed(millis(clock))
        }))
    })
  return {
    consume: (bucket, options) => ask("consume", store.consume(bucket, options)),
    peek: (bucket, options) => ask("peek", store.peek(bucket, options)),
    refund: (bucket, options) => ask("refund", store.refund(bucket, options)),
    reset: (bucket) => ask("reset", store.reset(bucket))
  }
}

/** It only grows, whoever sets the clock. */
const millis = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos() / 1_000_000n)

interface Refused {
  readonly limits: Limits
  readonly cost: number
  readonly decision: Decision
  readonly at: number
}

const remembering = (store: Service, capacity: number): Service => {
  const refused = new Map<string, Refused>()

  /** What was decided, as of now; `undefined` where it has to be asked. */
  const known = (name: string, { limits }: Bucket, cost: number, now: number): Decision | undefined => {
    const found = refused.get(name)
    if (found === undefined) return undefined
    const passed = now - found.at
    if (passed >= Math.min(recheck, found.decision.retryAfter) || found.limits !== limits) {
      refused.delete(name)
      return undefined
    }
    return cost < found.cost ? undefined : later(found.decision, passed)
  }
  const remember = (name: string, entry: Refused) => {
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
  }
  const forgetting = <A>(bucket: Bucket, effect: Effect.Effect<A, RateLimitUnavailable>) =>
    Effect.tap(effect, () => Effect.sync(() => refused.delete(nameOf(bucket))))

  return {
    consume: (bucket, options) => {
      // who gives the time wants to be told by it
      if (options.now !== undefined) return store.consume(bucket, options)
      return Effect.clockWith((clock) => {
        const name = nameOf(bucket)
        const { cost } = options
        const decision = known(name, bucket, cost, millis(clock))
        if (decision !== undefined) return Effect.succeed(decision)
        return Effect.map(store.consume(bucket, options), (decision) => {
          remember(name, { limits: bucket.limits, cost, decision, at: millis(clock) })
          return decision
        })
      })
    },
    peek: store.peek,
    refund: (bucket, options) => forgetting(bucket, store.refund(bucket, options)),
    reset: (bucket) => forgetting(bucket, store.reset(bucket))
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
