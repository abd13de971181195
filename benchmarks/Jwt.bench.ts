/**
 * Tokens verified and signed, beside `jose`, `fast-jwt` and `jsonwebtoken`, each with a key object made before and as many
 * checks as it has: issuer, audience, algorithm, times.
 */
import { Effect, Redacted, Schema } from "effect"
import * as Jwt from "effect-middleware/Authentication/Jwt"
import { createSigner, createVerifier } from "fast-jwt"
import * as Jose from "jose"
import Jsonwebtoken from "jsonwebtoken"
import * as Crypto from "node:crypto"
import { bench, describe } from "vitest"

const [issuer, audience] = ["https://login.example.com", "https://api.example.com"]
const claims = Schema.Struct({ sub: Schema.String, scope: Schema.String })
const now = Date.now()
const secret = Crypto.randomBytes(32)

const verifying = { issuer, audience, claims }
const issuing = { issuer, audience, claims, lifetime: "1 hour" } as const
const made = { sub: "ada", scope: "docs:read docs:write" }

const rsa = Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 })
const ec = Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
const ed = Crypto.generateKeyPairSync("ed25519")
const pem = (key: Crypto.KeyObject) =>
  key.export({ format: "pem", type: key.type === "private" ? "pkcs8" : "spki" }).toString()

const ours = (algorithm: Jwt.Algorithm, key: Jwt.Key, cache?: false) =>
  Jwt.verifier({ algorithms: [algorithm], keys: [key], cache, ...verifying })

const expectGood = (verification: unknown) => {
  if (Effect.isEffect(verification) || (verification as { _tag: string })._tag !== "Verified") {
    throw new Error("refused")
  }
}

describe("HS256, verified", () => {
  const key = Jwt.secret(Redacted.make(secret))
  const token = Effect.runSync(Jwt.issuer({ keys: [key], ...issuing }).sign(made))
  const [uncached, cached] = [ours("HS256", key, false), ours("HS256", key)]
  const none = token.slice(0, -4) + "AAAA"
  // a request has a string of its own, of which nothing is known yet
  const header = Buffer.from(`Bearer ${token}`)
  const fresh = () => header.toString("latin1", 7)
  expectGood(uncached.verify(token, now))
  expectGood(cached.verify(token, now))

  bench("ours", () => void uncached.verify(fresh(), now))
  bench("ours, cached", () => void cached.verify(fresh(), now))
  bench("ours, wrong", () => void cached.verify(none, now))

  const object = Crypto.createSecretKey(secret)
  const options = { algorithms: ["HS256"], issuer, audience }
  bench("jose", () => Jose.jwtVerify(fresh(), object, options).then(() => {}))
  const fast = { key: secret, algorithms: ["HS256" as const], allowedIss: issuer, allowedAud: audience }
  const [fastUncached, fastCached] = [
    createVerifier({ ...fast, cache: false }),
    createVerifier({ ...fast, cache: true })
  ]
  bench("fast-jwt", () => void fastUncached(fresh()))
  bench("fast-jwt, cached", () => void fastCached(fresh()))
  bench("jsonwebtoken", () => void Jsonwebtoken.verify(fresh(), object, { algorithms: ["HS256"], issuer, audience }))
})

const pairs = [
  ["RS256", rsa],
  ["ES256", ec],
  ["EdDSA", ed]
] as const

const tokens = new Map(
  await Promise.all(
    pairs.map(async ([algorithm, { privateKey }]) => {
      const keys = [Jwt.privateKey(Redacted.make(pem(privateKey)), { algorithm })] as const
      return [algorithm, await Effect.runPromise(Jwt.issuer({ keys, ...issuing }).sign(made))] as const
    })
  )
)

describe.each(pairs)("%s, verified", (algorithm, { publicKey }) => {
  const token = tokens.get(algorithm)!
  const key = Jwt.pem(pem(publicKey), { algorithm })
  const [uncached, cached] = [ours(algorithm, key, false), ours(algorithm, key)]
  expectGood(uncached.verify(token, now))
  bench("ours", () => void uncached.verify(token, now))
  bench("ours, cached", () => void cached.verify(token, now))
  const options = { algorithms: [algorithm], issuer, audience }
  bench("jose", () => Jose.jwtVerify(token, publicKey, options).then(() => {}))
  const fast = createVerifier({
    key: pem(publicKey),
    algorithms: [algorithm],
    allowedIss: issuer,
    allowedAud: audience,
    cache: false
  })
  bench("fast-jwt", () => void fast(token))
  if (algorithm === "EdDSA") return
  bench(
    "jsonwebtoken",
    () => void Jsonwebtoken.verify(token, publicKey, { algorithms: [algorithm], issuer, audience })
  )
})

describe.each(pairs)("%s, signed", (algorithm, { privateKey }) => {
  const keys = [Jwt.privateKey(Redacted.make(pem(privateKey)), { algorithm })] as const
  const { sign } = Jwt.issuer({ keys, ...issuing })
  bench("ours", () => Effect.runPromise(sign(made)).then(() => {}))
  const fast = createSigner({ key: pem(privateKey), algorithm, iss: issuer, aud: audience, expiresIn: 3_600_000 })
  bench("fast-jwt", () => void fast(made))
})
