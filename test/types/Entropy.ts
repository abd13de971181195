import { Effect, Layer } from "effect"
import { Entropy } from "effect-middleware"
import { typeOf } from "./fixtures.js"

declare const service: Entropy.Service
typeOf(service.uuid()).is<string>()
typeOf(service.bytes(16)).is<Uint8Array>()

// it has a default, so that nobody is required to supply it
typeOf(Effect.map(Entropy.Entropy, ({ uuid }) => uuid())).is<Effect.Effect<string>>()
typeOf(Layer.succeed(Entropy.Entropy, service)).is<Layer.Layer<Entropy.Entropy>>()
// @ts-expect-error it has no such source
Layer.succeed(Entropy.Entropy, { uuid: () => "", float: () => 0.5 })
