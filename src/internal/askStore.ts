/** A store that is elsewhere is not asked while it is dead. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as circuits from "./circuit.js"

export const makeAsk = <E>(unavailable: (operation: string) => (cause: unknown) => E) => {
  const circuit = circuits.make({ failures: 5, first: 1000, most: 30_000 })
  return <A>(
    operation: string,
    clock: Clock.Clock,
    effect: Effect.Effect<A, E>,
    then?: (a: A) => void
  ): Effect.Effect<A, E> => {
    const verdict = circuit.mayAsk(clock.unsafeCurrentTimeMillis())
    if (verdict === false) {
      return Effect.fail(unavailable(operation)(new Error("It has failed too often, and is left alone for a while")))
    }
    const asked = Effect.matchCauseEffect(effect, {
      onFailure: (cause) => {
        circuit.failed(clock.unsafeCurrentTimeMillis(), verdict === "alone")
        return Effect.failCause(cause)
      },
      onSuccess: (a) => {
        circuit.succeeded()
        then?.(a)
        return Effect.succeed(a)
      }
    })
    return verdict === "alone" ? Effect.onInterrupt(asked, () => Effect.sync(circuit.abandoned)) : asked
  }
}

/** The same of what fails with whatever it likes. */
export const makeGuarded = <E>(unavailable: (operation: string) => (cause: unknown) => E) => {
  const ask = makeAsk(unavailable)
  return <A>(operation: string, effect: Effect.Effect<A, unknown>): Effect.Effect<A, E> =>
    Effect.clockWith((clock) => ask(operation, clock, Effect.mapError(effect, unavailable(operation))))
}
