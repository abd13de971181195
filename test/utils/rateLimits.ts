import { Context, Layer } from "effect"
import { RateLimitStore } from "effect-middleware"

/** Memory that is asked by an Effect, as a store elsewhere is. */
export const remoteMemory = Layer.map(RateLimitStore.layerMemory(), (context) => {
  const { sync: _, ...store } = Context.get(context, RateLimitStore.RateLimitStore)
  return Context.make(RateLimitStore.RateLimitStore, store)
})
