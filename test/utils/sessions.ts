import { Context, Effect, Layer } from "effect"
import { SessionStore } from "effect-middleware"

/** Two processes, as far as a store can tell: each call goes to the other of two that have been made of one backing. */
export const alternating = <E, R>(
  layer: Layer.Layer<SessionStore.SessionStore, E, R>
): Layer.Layer<SessionStore.SessionStore, E, R> => {
  const make = Layer.build(Layer.fresh(layer)).pipe(
    Effect.map(Context.get(SessionStore.SessionStore))
  )
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
