import { Context, Effect, Layer } from "effect"
import { SessionStore } from "effect-middleware"
import type { Case } from "../contracts/SessionStoreContract.js"

/** Two processes, as far as a store can tell: each call goes to the other of two that have been made of one backing. */
export const alternating = <E, R>(
  layer: Layer.Layer<SessionStore.SessionStore, E, R>
): Layer.Layer<SessionStore.SessionStore, E, R> => {
  const make = Effect.map(Layer.build(Layer.fresh(layer)), Context.get(SessionStore.SessionStore))
  return Layer.scoped(
    SessionStore.SessionStore,
    Effect.map(Effect.all([make, make]), ([one, two]) => {
      let calls = 0
      const next = () => calls++ % 2 === 0 ? one : two
      return {
        load: (...args) => Effect.suspend(() => next().load(...args)),
        create: (...args) => Effect.suspend(() => next().create(...args)),
        save: (...args) => Effect.suspend(() => next().save(...args)),
        rotate: (...args) => Effect.suspend(() => next().rotate(...args)),
        destroy: (...args) => Effect.suspend(() => next().destroy(...args)),
        list: (...args) => Effect.suspend(() => next().list(...args)),
        destroyAll: (...args) => Effect.suspend(() => next().destroyAll(...args)),
        epoch: (...args) => Effect.suspend(() => next().epoch(...args)),
        advanceEpoch: (...args) => Effect.suspend(() => next().advanceEpoch(...args))
      }
    })
  )
}

/**
 * What two processes never keep on one backing that cannot compare and set; the page of SessionStore has them too. Others
 * they keep or not, as it happens.
 */
export const unshared: ReadonlyArray<Case> = [
  "of many that create by one identifier one does",
  "a touch is no version, and takes no save back",
  "of many writers of one version one saves",
  "as many as load, save and try again are counted",
  "of many that rotate one version one does, and nothing is left of the others",
  "of many that destroy all at the same time each session is counted once",
  "fifty advances at the same time are fifty"
]
