import * as Effect from "effect/Effect"
import { digest } from "./digest.js"

/** One request asks the app for what others want too; they wait for it, but not for long. */
export const makeFlights = (wait: number) => {
  const flights = new Map<string, Flight>()
  return {
    begin: (id: string, now: number): () => void => {
      const flight: Flight = { since: now, waiting: new Set(), hasEnded: false }
      flights.set(id, flight)
      return () => {
        flight.hasEnded = true
        if (flights.get(id) === flight) flights.delete(id)
        for (const go of flight.waiting) go()
        flight.waiting.clear()
      }
    },
    /** Ends when that one has ended, or at the latest at `until`; `undefined` if there is none to wait for. */
    join: (id: string, now: number, until: number): Effect.Effect<void> | undefined => {
      const flight = flights.get(id)
      const left = flight === undefined ? 0 : Math.min(flight.since + wait, until) - now
      if (flight === undefined || left <= 0) return undefined
      return Effect.async<void>((resume) => {
        const go = () => resume(Effect.void)
        // whoever waits has a fiber for it, which may begin too late
        if (flight.hasEnded) return go()
        flight.waiting.add(go)
        return Effect.sync(() => flight.waiting.delete(go))
      }).pipe(
        Effect.timeoutTo({ duration: left, onSuccess: () => {}, onTimeout: () => {} }),
        // a client that leaves need not wait
        Effect.interruptible
      )
    }
  }
}

interface Flight {
  readonly since: number
  readonly waiting: Set<() => void>
  hasEnded: boolean
}

/** What could not be stored lately: nobody is to wait for it in vain. */
export const makeHopeless = (most = 10_000, forMillis = 10_000) => {
  const until = new Map<string, number>()
  return {
    has: (id: string, now: number) => until.size > 0 && (until.get(digest(id)) ?? 0) > now,
    add: (id: string, now: number) => {
      // as long as a URL may be, so many of them would be a load
      const name = digest(id)
      until.delete(name)
      until.set(name, now + forMillis)
      if (until.size <= most) return
      for (const oldest of until.keys()) {
        until.delete(oldest)
        break
      }
    }
  }
}
