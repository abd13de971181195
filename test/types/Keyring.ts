import { Config, type ConfigError, Effect, type Layer, Redacted } from "effect"
import { type Entropy, Keyring } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

declare const secret: Redacted.Redacted
declare const bytes: Redacted.Redacted<Uint8Array>
declare const options: Keyring.Options
declare const entropy: Entropy.Service

typeOf(Keyring.make(options)).is<Keyring.Service>()
typeOf(Keyring.layer({ keys: [secret, bytes] })).is<Layer.Layer<Keyring.Keyring>>()
typeOf(Keyring.layerConfig(Config.redacted("SESSION_KEYS"))).is<
  Layer.Layer<Keyring.Keyring, ConfigError.ConfigError>
>()

// @ts-expect-error at least one key
Keyring.make({ keys: [] })
// @ts-expect-error a secret is redacted, so that nothing prints it
Keyring.make({ keys: ["mF0m1tuMMPNX3QVvuJLuUKlEBUZnUo7ufN7pN43xGsk="] })
// @ts-expect-error and so is one from a configuration
Keyring.layerConfig(Config.string("SESSION_KEYS"))
// @ts-expect-error a secret is text or bytes
Keyring.make({ keys: [Redacted.make(1)] })

// the service
typeOf(Effect.map(Keyring.Keyring, ({ purpose }) => purpose("session"))).is<
  Effect.Effect<Keyring.Purpose, never, Keyring.Keyring>
>()
declare const purpose: Keyring.Purpose
typeOf(purpose.sign("value", "context")).is<string>()
typeOf(purpose.verify("text", "context")).is<Keyring.Opened | undefined>()
typeOf(purpose.seal("value", "context", entropy)).is<string>()
typeOf(purpose.open("text", "context")).is<Keyring.Opened | undefined>()
// @ts-expect-error what it is bound to has to be said
purpose.sign("value")
// @ts-expect-error a nonce comes from somewhere
purpose.seal("value", "context")
same<Keyring.Opened["value"], string>()
same<Keyring.Opened["stale"], boolean>()
