/**
 * Argon2id (RFC 9106) for `PasswordHash`, by `@node-rs/argon2`.
 *
 * 1. New hashes take 19 MiB and two passes, which is what OWASP asks for.
 * 2. What is in an Argon2 hash is verified whatever its variant, version and parameters are, as far as they are not
 *    excessive; `needsRehash` tells those that differ.
 * 3. One hash has one thread, as long as `parallelism` is 1.
 *
 * @since 0.1.0
 */
import * as Argon2 from "@node-rs/argon2"
import * as Layer from "effect/Layer"
import { type Cost, isExcessive, whole } from "../internal/passwordCost.js"
import { type Algorithm, type Limits, make, PasswordHash } from "../PasswordHash.js"

/**
 * @since 0.1.0
 * @category options
 */
export interface Options extends Limits {
  /** The memory of one hash in KiB. Default: 19,456, that is 19 MiB. */
  readonly memoryCost?: number | undefined
  /** How often it is gone over. Default: 2. */
  readonly timeCost?: number | undefined
  /** How many threads one hash has. Default: 1. */
  readonly parallelism?: number | undefined
}

/**
 * @example
 * ```ts
 * import { PasswordHash } from "effect-middleware"
 * import * as Argon2 from "effect-middleware/PasswordHash/Argon2"
 * import { Effect, Redacted } from "effect"
 *
 * export const hashed = Effect.flatMap(
 *   PasswordHash.PasswordHash,
 *   (passwords) => passwords.hash(Redacted.make("correct horse battery staple"))
 * ).pipe(Effect.provide(Argon2.layer()))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<PasswordHash> =>
  Layer.succeed(PasswordHash, make(argon2(options), options))

const argon2 = (options: Options): Algorithm => {
  const { memoryCost = 19_456, parallelism = 1, timeCost = 2 } = options
  const option = (name: keyof Options, value: number, min: number, max: number) =>
    whole("PasswordHash/Argon2", name, value, min, max)
  option("parallelism", parallelism, 1, mostLanes)
  option("memoryCost", memoryCost, 8 * parallelism, 4 * 1024 * 1024)
  option("timeCost", timeCost, 1, 1024)
  const own = costOf({ memoryCost, timeCost })
  return {
    // zeros in base64, of 16 bytes and of 32
    decoy: `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${"A".repeat(22)}$${"A".repeat(43)}`,
    hash: (password, salt) => Argon2.hash(password, { memoryCost, timeCost, parallelism, salt, outputLen: tagLength }),
    read: (hash) => {
      const asked = parse(hash)
      if (asked === undefined) return "unknown"
      if (asked.parallelism > mostLanes || isExcessive(costOf(asked), own)) return "excessive"
      return {
        isCurrent: hash.startsWith("$argon2id$v=19$") && asked.memoryCost === memoryCost &&
          asked.timeCost === timeCost && asked.parallelism === parallelism && asked.outputLen === tagLength,
        verify: (password) => Argon2.verify(hash, password)
      }
    }
  }
}
const tagLength = 32
const mostLanes = 16

const costOf = (
  { memoryCost, timeCost }: Pick<Argon2.ParsedHashOptions, "memoryCost" | "timeCost">
): Cost => ({ memory: memoryCost * 1024, passes: timeCost })

const parse = (hash: string): Argon2.ParsedHashOptions | undefined => {
  // no hash is as long, and one with a short tag is met by chance
  if (hash.length > 512) return undefined
  try {
    const parsed = Argon2.parseOptions(hash)
    return parsed.outputLen < 16 ? undefined : parsed
  } catch {
    return undefined
  }
}
