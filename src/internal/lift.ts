import * as Effect from "effect/Effect"

/** What is known already, and what an Effect will tell, alike. */
export const lift = <A, E, R>(value: A | Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.isEffect(value) ? value : Effect.succeed(value)
