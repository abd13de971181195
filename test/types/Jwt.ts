import type { HttpClient } from "@effect/platform"
import type { Option } from "effect"
import { Effect, type ParseResult, Redacted, Schema } from "effect"
import type { Authentication } from "effect-middleware"
import * as Jwt from "effect-middleware/Authentication/Jwt"
import type { JSONWebKeySet } from "jose"
import { typeOf } from "./fixtures.js"

interface User {
  readonly id: string
}
interface Directory {
  readonly directory: unique symbol
}
declare const find: (id: string) => Effect.Effect<Option.Option<{ readonly user: User }>, Error, Directory>

const redacted = Redacted.make("")
const claims = Schema.Struct({ sub: Schema.String, since: Schema.Date })
type Claims = typeof claims.Type

// --- keys ------------------------------------------------------------------------------------------------------------

const named: Jwt.KeyOptions = { kid: "a" }
const secret: Jwt.SigningKey = Jwt.secret(redacted, { algorithm: "HS512", ...named })
const own: Jwt.SigningKey = Jwt.privateKey(redacted, { algorithm: "ES256" })
// what signs verifies
export const key: Jwt.Key = own
typeOf(Jwt.pem("", { algorithm: "RS256" })).is<Jwt.Key>()
typeOf(Jwt.jwk({})).is<Jwt.Key>()
typeOf(Jwt.jwkSet({ keys: [] })).is<readonly [Jwt.Key, ...Array<Jwt.Key>]>()
const remote: Jwt.JwksOptions = { url: new URL("https://a.test"), cooldown: "10 seconds" }
typeOf(Jwt.jwks(remote)).is<Jwt.KeySource<HttpClient.HttpClient>>()
export const algorithm: Jwt.Algorithm = "HS256" satisfies Jwt.SecretAlgorithm
export const unavailable = new Jwt.JwksUnavailable({ url: "", reason: "timeout" })

// @ts-expect-error a secret is redacted
Jwt.secret("secret")
// @ts-expect-error a secret is for HMAC alone
Jwt.secret(redacted, { algorithm: "RS256" })
// @ts-expect-error a private key names its algorithm
Jwt.privateKey(redacted, {})
// @ts-expect-error and is none for HMAC
Jwt.privateKey(redacted, { algorithm: "HS256" })
// @ts-expect-error no key is for `none`
Jwt.pem("", { algorithm: "none" })

// --- verifying -------------------------------------------------------------------------------------------------------

const options = { algorithms: ["HS512"], keys: [secret], issuer: "a", audience: "b", claims } as const
typeOf(Jwt.verifier(options)).is<Jwt.Verifier<Claims>>()
typeOf(Jwt.verifier({ ...options, keys: Jwt.jwks(remote) })).is<Jwt.Verifier<Claims, HttpClient.HttpClient>>()
const verification = Jwt.verifier(options).verify("", 0)
if (!Effect.isEffect(verification)) {
  typeOf(verification).is<Jwt.Verification<Claims>>()
  if (verification._tag === "Refused") {
    typeOf(verification).is<Jwt.Refused>()
    typeOf(verification.reason).is<Jwt.Reason>()
  }
  if (verification._tag === "Verified") typeOf(verification).is<Jwt.Verified<Claims>>()
}
export const cache: Jwt.Cache = { capacity: 10, ttl: "1 second" }
export const verifying: Jwt.VerifierOptions<Claims, typeof claims.Encoded> = {
  ...options,
  cache: false,
  maxAge: "1 hour"
}

const { algorithms: _algorithms, ...noAlgorithms } = options
// @ts-expect-error the algorithms are listed
Jwt.verifier(noAlgorithms)
// @ts-expect-error at least one
Jwt.verifier({ ...options, algorithms: [] })
// @ts-expect-error and none of them is `none`
Jwt.verifier({ ...options, algorithms: ["none"] })
const { audience: _audience, ...noAudience } = options
// @ts-expect-error that anybody's tokens are taken is said
Jwt.verifier(noAudience)
// @ts-expect-error a key is listed
Jwt.verifier({ ...options, keys: [] })

// --- the backend -----------------------------------------------------------------------------------------------------

const plain = Jwt.backend({ ...options, identity: ({ since, sub }) => ({ user: { id: sub, since } }) })
typeOf(plain).is<Authentication.Backend<{ id: string; since: Date }>>()
const asking = Jwt.backend({ ...options, identity: ({ sub }, { scopes }) => find(`${sub}${scopes.join()}`) })
typeOf(asking).is<Authentication.Backend<User, Directory>>()
const both = Jwt.backend({ ...options, keys: Jwt.jwks(remote), identity: ({ sub }) => find(sub) })
typeOf(both).is<Authentication.Backend<User, Directory | HttpClient.HttpClient>>()
export const backing: Jwt.Options<Claims, typeof claims.Encoded, User> = {
  ...options,
  identity: ({ sub }) => ({ user: { id: sub } }),
  realm: "a"
}
// @ts-expect-error a claim that the schema does not have
Jwt.backend({ ...options, identity: ({ name }) => ({ user: name }) })

// --- issuing ---------------------------------------------------------------------------------------------------------

export const issuing: Jwt.IssuerOptions<Claims, typeof claims.Encoded> = {
  keys: [own, secret],
  issuer: "a",
  audience: ["b", "c"],
  lifetime: "5 minutes",
  claims
}
const issuer = Jwt.issuer(issuing)
typeOf(issuer).is<Jwt.Issuer<Claims>>()
typeOf(issuer.sign({ sub: "ada", since: new Date(0) })).is<Effect.Effect<string, ParseResult.ParseError>>()
typeOf(issuer.jwks).is<Effect.Effect<JSONWebKeySet>>()
// @ts-expect-error claims are those of the schema
issuer.sign({ sub: "ada" })
// @ts-expect-error a public key signs nothing
Jwt.issuer({ ...issuing, keys: [Jwt.pem("")] })
