/**
 * Randomness for plain phases, which have no Effect to ask, injected so that
 * tests can fix it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** A version 4 UUID (RFC 9562). */
  readonly uuid: () => string
  /** `size` cryptographically strong bytes. */
  readonly bytes: (size: number) => Uint8Array
}

/**
 * Where identifiers, nonces and keys come from. The default is the runtime's
 * cryptographic generator.
 *
 * @example
 * ```ts
 * import { Entropy } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * const fixed = Layer.succeed(Entropy.Entropy, {
 *   uuid: () => "00000000-0000-4000-8000-000000000000",
 *   bytes: (size) => new Uint8Array(size)
 * })
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class Entropy extends Context.Reference<Entropy>()("effect-middleware/Entropy", {
  defaultValue: (): Service => ({
    uuid: () => globalThis.crypto.randomUUID(),
    bytes: (size) => globalThis.crypto.getRandomValues(new Uint8Array(size))
  })
}) {}
