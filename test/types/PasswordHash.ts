import type { HttpServerRespondable } from "@effect/platform"
import type { Duration, Effect, Layer, Option } from "effect"
import { Redacted } from "effect"
import { Authentication, PasswordHash } from "effect-middleware"
import * as Argon2 from "effect-middleware/PasswordHash/Argon2"
import { same, typeOf } from "./fixtures.js"

type Failures = PasswordHash.PasswordHashUnavailable | PasswordHash.PasswordHashUnsupported

// the service
declare const passwords: PasswordHash.Service
declare const password: Redacted.Redacted
typeOf(passwords.hash(password)).is<
  Effect.Effect<string, PasswordHash.PasswordHashUnavailable | PasswordHash.PasswordTooLong>
>()
typeOf(passwords.verify(password, "")).is<Effect.Effect<boolean, Failures>>()
typeOf(passwords.needsRehash("")).is<boolean>()
typeOf(passwords.decoy).is<string>()
same<PasswordHash.PasswordHash["Type"], PasswordHash.Service>()
// @ts-expect-error a log would show it
passwords.hash("correct horse")

// layers
typeOf(PasswordHash.layerScrypt()).is<Layer.Layer<PasswordHash.PasswordHash>>()
typeOf(Argon2.layer({ memoryCost: 19_456, timeCost: 2, parallelism: 1 })).is<Layer.Layer<PasswordHash.PasswordHash>>()
typeOf(PasswordHash.layerFirstOf(Argon2.layer(), PasswordHash.layerScrypt())).is<
  Layer.Layer<PasswordHash.PasswordHash>
>()
declare const layered: Layer.Layer<PasswordHash.PasswordHash, "failed", "database">
typeOf(PasswordHash.layerFirstOf(layered, layered)).is<Layer.Layer<PasswordHash.PasswordHash, "failed", "database">>()
// @ts-expect-error of none
PasswordHash.layerFirstOf()
PasswordHash.layerScrypt({ N: undefined, r: undefined, p: undefined, concurrency: undefined, maxQueued: undefined })
same<PasswordHash.ScryptOptions["N"], number | undefined>()
same<keyof Argon2.Options, keyof PasswordHash.Limits | "memoryCost" | "timeCost" | "parallelism">()

// an algorithm of one's own
declare const algorithm: PasswordHash.Algorithm
typeOf(PasswordHash.make(algorithm, { concurrency: 1 })).is<PasswordHash.Service>()
same<ReturnType<PasswordHash.Algorithm["read"]>, PasswordHash.Stored | "unknown" | "excessive">()

// a verifier
interface User {
  readonly name: string
}
declare const find: (username: string) => Effect.Effect<Option.Option<PasswordHash.Account<User>>, "down", "users">
const verify = PasswordHash.verifier({ find })
typeOf(verify).is<
  (
    credentials: PasswordHash.Credentials
  ) => Authentication.Verified<User, Failures | "down", PasswordHash.PasswordHash | "users">
>()
typeOf(Authentication.basic({ verify })).is<Authentication.Backend<User, PasswordHash.PasswordHash | "users">>()
verify({ username: "ada", password: Redacted.make("secret") })
PasswordHash.verifier({ find, cache: false })
PasswordHash.verifier({ find, cache: { capacity: 10, ttl: "1 minute" }, upgrade: undefined })
same<PasswordHash.Cache["ttl"], Duration.DurationInput | undefined>()
typeOf(PasswordHash.verifier({ find, upgrade: (name, hash, previous) => find(name + hash + previous) })).is<
  typeof verify
>()
declare const options: PasswordHash.VerifierOptions<User, "down", "users">
typeOf(PasswordHash.verifier(options)).is<typeof verify>()
// @ts-expect-error it is there, or it is not
PasswordHash.verifier({ find, cache: true })

// failures know their responses
declare const failures: [
  PasswordHash.PasswordHashUnavailable,
  PasswordHash.PasswordHashUnsupported,
  PasswordHash.PasswordTooLong
]
same<typeof failures[0]["reason"], "busy" | "failed">()
same<typeof failures[1]["reason"], "unknown" | "excessive">()
export const respondable: ReadonlyArray<HttpServerRespondable.Respondable> = failures
