import { FetchHttpClient, HttpClient, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Clock, DateTime, Effect, FastCheck, Fiber, Layer, Option, Redacted, Schema, TestClock } from "effect"
import { Authentication, Entropy, Stack } from "effect-middleware"
import * as Jwt from "effect-middleware/Authentication/Jwt"
import { createSigner, createVerifier } from "fast-jwt"
import * as Jose from "jose"
import Jsonwebtoken from "jsonwebtoken"
import * as Crypto from "node:crypto"
import * as Http from "node:http"
import { listen, type Reply, request } from "../utils/TestApp.js"

const now = 1_700_000_000
const secret = Redacted.make("Vx0b2kqTq6yJmJ3l8pYwHn5sRf9cZdA1uEoGiKtLbXw=")
const pairs = {
  rsa: Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ec: Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" }),
  ed: Crypto.generateKeyPairSync("ed25519")
}
const pemOf = (key: Crypto.KeyObject) =>
  key.export({ format: "pem", type: key.type === "private" ? "pkcs8" : "spki" }).toString()
const jwkOf = (key: Crypto.KeyObject, more: object = {}) => ({ ...key.export({ format: "jwk" }), ...more })

const Claims = Schema.Struct({ sub: Schema.String })
const base = { issuer: "https://login.test", audience: "https://api.test", claims: Claims } as const
const good = { iss: base.issuer, aud: base.audience, sub: "ada", exp: now + 60 }

// --- tokens as an attacker writes them -------------------------------------------------------------------------------

const encoded = (value: unknown) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url")
const inputOf = (header: unknown, claims: unknown) => `${encoded(header)}.${encoded(claims)}`
const hmac = (key: string | Uint8Array, header: object, claims: unknown = good) => {
  const input = inputOf({ alg: "HS256", ...header }, claims)
  return `${input}.${Crypto.createHmac("sha256", key).update(input).digest("base64url")}`
}
const signedBy = (key: Crypto.KeyObject, header: { readonly alg: string }, claims: unknown = good) => {
  const input = inputOf(header, claims)
  const hash = key.asymmetricKeyType === "ed25519" ? null : "sha256"
  const pss = header.alg === "PS256" && { padding: Crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
  const signature = Crypto.sign(hash, Buffer.from(input), { key, dsaEncoding: "ieee-p1363", ...pss })
  return `${input}.${signature.toString("base64url")}`
}

type Settings = Partial<Jwt.VerifierOptions<{ readonly sub: string }, { readonly sub: string }>>
const verifier = (settings: Settings = {}) =>
  Jwt.verifier({ algorithms: ["HS256"], keys: [Jwt.secret(secret)], ...base, ...settings })

/** In plain code, as it has to be where nothing is fetched. */
const told = ({ verify }: Jwt.Verifier<unknown>, token: string, at = now * 1000): string => {
  const verification = verify(token, at)
  assert.isFalse(Effect.isEffect(verification))
  if (Effect.isEffect(verification)) return "an effect"
  return verification._tag === "Refused" ? verification.reason : verification._tag
}
const ours = (claims: unknown = good) => hmac(Redacted.value(secret), {}, claims)

// --- the attacks -----------------------------------------------------------------------------------------------------

describe("advisories", () => {
  const rsaPem = pemOf(pairs.rsa.publicKey)
  const rsaOnly: Settings = { algorithms: ["RS256"], keys: [Jwt.pem(rsaPem, { kid: "k" })] }

  it("14: a public key is no HMAC secret, whatever the header says (CVE-2026-22817)", () => {
    const token = hmac(rsaPem, { kid: "k" })
    assert.strictEqual(told(verifier(rsaOnly), token), "algorithm")
    // nor where HMAC is listed for a key of its own
    const both: Settings = { algorithms: ["RS256", "HS256"], keys: [Jwt.pem(rsaPem, { kid: "k" }), Jwt.secret(secret)] }
    assert.strictEqual(told(verifier(both), token), "signature")
    const { algorithms: _, ...none } = { algorithms: ["HS256" as const], keys: [Jwt.secret(secret)] as const, ...base }
    assert.throws(() => Jwt.verifier({ ...none, algorithms: [] as never }), TypeError, /algorithms is empty: list/)
  })

  it("15: the alg of a header stands in for none of a JWK (CVE-2026-22818)", () => {
    const keys = Jwt.jwkSet({ keys: [jwkOf(pairs.rsa.publicKey, { kid: "k" })] })
    assert.isUndefined(keys[0].algorithms.find((algorithm) => algorithm.startsWith("HS")))
    assert.strictEqual(
      told(
        verifier({ algorithms: ["RS256", "HS256"], keys: [...keys, Jwt.secret(secret, { kid: "s" })] }),
        hmac(rsaPem, { kid: "k" })
      ),
      "unknown-key"
    )
    assert.strictEqual(
      told(verifier({ algorithms: ["RS256"], keys }), signedBy(pairs.rsa.privateKey, { alg: "RS256" })),
      "Verified"
    )
  })

  it("16: a token for another audience (GHSA-m732-5p4w-x69g)", () => {
    assert.strictEqual(told(verifier(), ours({ ...good, aud: "https://other.test" })), "audience")
    const { aud: _, ...nobody } = good
    assert.strictEqual(told(verifier(), ours(nobody)), "audience")
    assert.strictEqual(told(verifier({ audience: false }), ours(nobody)), "Verified")
  })

  it.scoped("17: another scheme is not Bearer (CVE-2026-47673)", () =>
    Effect.gen(function*() {
      const send = yield* serve(users)
      for (const scheme of ["Bearer", "bEaReR"]) assert.strictEqual((yield* send(`${scheme} ${ours()}`)).status, 200)
      for (const scheme of ["Basic", "Token", "JWT", "Bearer2"]) {
        const reply = yield* send(`${scheme} ${ours()}`)
        assert.deepStrictEqual([reply.status, reply.headers["www-authenticate"]], [401, "Bearer realm=\"app\""])
      }
      assert.notStrictEqual((yield* send(ours())).status, 200)
    }))

  it("18: exp that is no number, infinite, or 0 (Hono a5bd9ebe)", () => {
    for (const exp of ["\"x\"", "1e400", "-1e400", "null", "[]", "true", "{}", `"${now + 60}"`]) {
      const claims = JSON.stringify(good).replace(/"exp":\d+/, `"exp":${exp}`)
      assert.strictEqual(told(verifier(), ours(claims)), "time", exp)
      const nbf = JSON.stringify({ ...good, nbf: 1 }).replace("\"nbf\":1", `"nbf":${exp}`)
      assert.strictEqual(told(verifier(), ours(nbf)), "time", exp)
    }
    assert.strictEqual(told(verifier(), ours({ ...good, exp: 0 })), "expired")
    const { exp: _, ...without } = good
    assert.strictEqual(told(verifier(), ours(without)), "time")
  })

  it("19: none is no algorithm (CVE-2022-23540)", () => {
    for (const alg of ["none", "None", "NONE", "nOnE", ""]) {
      const input = inputOf({ alg }, good)
      for (const token of [`${input}.`, `${input}.AAAA`, `${input}.${ours().split(".")[2]}`]) {
        assert.strictEqual(told(verifier(), token), "algorithm")
      }
    }
    assert.throws(() => verifier({ algorithms: ["none" as "HS256"] }), TypeError, /algorithms has "none": write/)
  })

  it("20: a key of another type than the algorithm (CVE-2022-23541)", () => {
    assert.throws(() => verifier({ keys: [Jwt.pem(rsaPem)] }), TypeError, /algorithms has HS256, and no key is for it/)
    assert.throws(() => Jwt.pem(rsaPem, { algorithm: "HS256" }), TypeError, /the PEM is of another type/)
    assert.throws(() => Jwt.pem(rsaPem, { algorithm: "ES256" }), TypeError, /the PEM is of another type/)
    assert.throws(
      () => verifier({ keys: [Jwt.secret(secret), Jwt.pem(rsaPem)] }),
      TypeError,
      /keys\[1\] is for RS256.*algorithms has none of them/
    )
  })

  it("21: no key of another kind is a secret (CVE-2022-29217)", () => {
    const ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG1sMjVmZDhzZ2pzaGdqaHNkZ2poc2dkanNoZ2RqaGc= a@b"
    const der = pairs.rsa.publicKey.export({ format: "der", type: "spki" })
    for (const key of [ssh, rsaPem, pemOf(pairs.ed.privateKey), JSON.stringify(jwkOf(pairs.ec.publicKey)), der]) {
      assert.throws(() => Jwt.secret(Redacted.make(key)), TypeError, /the secret is a public or private key/)
    }
  })

  it("22: ECDSA for HMAC, and a JWE that unfolds (CVE-2024-33663, CVE-2024-33664)", () => {
    const pem = pemOf(pairs.ec.publicKey)
    assert.strictEqual(told(verifier({ algorithms: ["ES256"], keys: [Jwt.pem(pem)] }), hmac(pem, {})), "algorithm")
    const jwe = `${encoded({ alg: "dir", enc: "A128CBC-HS256", zip: "DEF" })}..AAAA.AAAA.AAAA`
    assert.strictEqual(told(verifier(), jwe), "encrypted")
    assert.strictEqual(told(verifier(), hmac(Redacted.value(secret), { zip: "DEF" })), "header")
    assert.strictEqual(told(verifier(), ours({ ...good, padding: "a".repeat(6200) })), "too-large")
  })

  it("23: both the header and the key name the algorithm (CVE-2026-48523)", () => {
    const keys = [Jwt.jwk(jwkOf(pairs.rsa.publicKey, { alg: "PS256" }))] as const
    assert.throws(() => verifier({ algorithms: ["RS256"], keys }), TypeError, /no key is for it/)
    const both: Settings = { algorithms: ["RS256", "PS256"], keys: [...keys, Jwt.pem(rsaPem, { kid: "other" })] }
    assert.strictEqual(told(verifier(both), signedBy(pairs.rsa.privateKey, { alg: "PS256" })), "Verified")
    // the only key for RS256 is another's
    const other = Jwt.pem(pemOf(Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey), {
      algorithm: "RS256"
    })
    const bound = verifier({ algorithms: ["RS256", "PS256"], keys: [...keys, other] })
    assert.strictEqual(told(bound, signedBy(pairs.rsa.privateKey, { alg: "RS256" })), "signature")
  })

  it.scoped("24: 10 000 unknown kids are one request for each cooldown (CVE-2026-48524)", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(now * 1000)
      const server = yield* JwksServer([jwkOf(pairs.ec.publicKey, { kid: "known" })])
      const verify = yield* remote(server)
      // by the hundred at once; to sign them would take longer than all the rest
      const flood = (count: number) =>
        Effect.forEach(Array.from({ length: count }), () => {
          const token = `${inputOf(header("ES256", Crypto.randomUUID()), good)}.${"A".repeat(86)}`
          return verify(token)
        }, { concurrency: 100 })
      assert.deepStrictEqual([...new Set(yield* flood(10_000))], ["unknown-key"])
      assert.strictEqual(server.requests, 1)
      yield* TestClock.adjust("29999 millis")
      assert.deepStrictEqual([...new Set(yield* flood(500))], ["unknown-key"])
      assert.strictEqual(server.requests, 1)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual([...new Set(yield* flood(500))], ["unknown-key"])
      assert.strictEqual(server.requests, 2)
      assert.strictEqual(yield* verify(signedBy(pairs.ec.privateKey, header("ES256", "known"), lasting)), "Verified")
    }))

  it("25: white space before a PEM makes no secret of it (CVE-2026-34950)", () => {
    for (const before of ["\n", " ", "\t\r\n", "\u00a0", "\ufeff", "x"]) {
      assert.throws(() => Jwt.secret(Redacted.make(before + rsaPem)), TypeError, /is a public or private key/)
    }
    // and what is one by its key object verifies as one
    const spaced = Jwt.pem(`\n${rsaPem}`)
    assert.strictEqual(told(verifier({ algorithms: ["RS256"], keys: [spaced] }), hmac(`\n${rsaPem}`, {})), "algorithm")
  })

  it("26: a crit that is not understood (CVE-2026-35042, CVE-2025-59420)", () => {
    const key = Redacted.value(secret)
    assert.strictEqual(told(verifier(), hmac(key, { crit: ["x"], x: 1 })), "header")
    assert.strictEqual(told(verifier(), hmac(key, { crit: [] })), "header")
    assert.strictEqual(told(verifier(), hmac(key, { crit: ["b64"], b64: false })), "header")
    assert.strictEqual(told(verifier(), hmac(key, { b64: false })), "header")
  })

  it("27: a kid chooses among the keys there are, and is nothing else (GHSA-869p-cjfg-cm3x)", () => {
    const known = verifier({ keys: [Jwt.secret(secret, { kid: "k" })] })
    const key = Redacted.value(secret)
    assert.strictEqual(told(known, hmac(key, { kid: "k" })), "Verified")
    for (const kid of ["../../dev/null", "__proto__", "constructor", "", "K", "k\u0000", "' OR 1=1"]) {
      for (const by of [key, "", "\0"]) assert.strictEqual(told(known, hmac(by, { kid })), "unknown-key")
    }
    // a key that a header brings along
    const own = Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
    const brought = { jwk: jwkOf(own.publicKey), jku: "https://evil.test/", x5u: "https://evil.test/", x5c: ["AAAA"] }
    const ec = verifier({ algorithms: ["ES256"], keys: [Jwt.pem(pemOf(pairs.ec.publicKey))] })
    assert.strictEqual(told(ec, signedBy(own.privateKey, { alg: "ES256", ...brought })), "signature")
    assert.strictEqual(told(ec, signedBy(pairs.ec.privateKey, { alg: "ES256", ...brought })), "Verified")
  })
})

const header = (alg: string, kid: string) => ({ alg, kid })
const lasting = { ...good, exp: now + 1_000_000 }

// --- verifying -------------------------------------------------------------------------------------------------------

describe("verifier", () => {
  const tokens = {
    HS256: ours(),
    RS256: signedBy(pairs.rsa.privateKey, { alg: "RS256" }),
    PS256: signedBy(pairs.rsa.privateKey, { alg: "PS256" }),
    ES256: signedBy(pairs.ec.privateKey, { alg: "ES256" }),
    EdDSA: signedBy(pairs.ed.privateKey, { alg: "EdDSA" })
  }
  const all = verifier({
    algorithms: ["HS256", "RS256", "PS256", "ES256", "EdDSA"],
    keys: [
      Jwt.secret(secret),
      ...Object.values(pairs).map(({ publicKey }) => Jwt.pem(pemOf(publicKey)))
    ]
  })
  const entries = Object.entries(tokens)

  it.each(entries)("%s", (_, token) => {
    assert.strictEqual(told(all, token), "Verified")
    assert.strictEqual(told(all, token), "Verified")
  })

  it.prop("a token with one character changed is none", [
    FastCheck.constantFrom(...entries.map(([, token]) => token)),
    FastCheck.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    FastCheck.constantFrom(..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \u00e9")
  ], ([token, where, character]) => {
    const at = Math.floor(where * token.length)
    const changed = token.slice(0, at) + character + token.slice(at + 1)
    assert.strictEqual(told(all, changed) === "Verified", changed === token)
  }, { fastCheck: { numRuns: 500 } })

  it.each(entries)("%s: the last character has one spelling", (_, token) => {
    for (const last of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
      assert.strictEqual(told(all, token.slice(0, -1) + last) === "Verified", last === token.at(-1), last)
    }
  })

  it.prop("what is no token is refused", [FastCheck.string(), FastCheck.string(), FastCheck.string()], (parts) => {
    for (const token of [parts[0], parts.join("."), parts.map(encoded).join(".")]) {
      assert.notInclude(["Verified", "Unavailable", "an effect"], told(all, token))
    }
  })

  it("several keys that fit: each is tried", () => {
    const others = Array.from({ length: 3 }, () => Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey)
    const keys = Jwt.jwkSet({ keys: [...others, pairs.ec.publicKey].map((key) => jwkOf(key, { kid: "same" })) })
    const many = verifier({ algorithms: ["ES256"], keys })
    assert.strictEqual(told(many, signedBy(pairs.ec.privateKey, header("ES256", "same"))), "Verified")
    assert.strictEqual(told(many, tokens.ES256), "Verified")
    assert.strictEqual(told(many, signedBy(pairs.ec.privateKey, header("ES256", "other"))), "unknown-key")
  })

  it("says what a token says", () => {
    const claims = { ...good, iat: now - 10, auth_time: now - 20, scope: "a b" }
    const verification = verifier().verify(ours(claims), now * 1000)
    if (Effect.isEffect(verification) || verification._tag !== "Verified") return assert.fail("not verified")
    assert.deepStrictEqual(verification.claims, { sub: "ada" })
    assert.deepStrictEqual(verification.payload, claims)
    assert.deepStrictEqual(verification.scopes, ["a", "b"])
    assert.deepStrictEqual(verification.authenticatedAt, DateTime.unsafeMake((now - 20) * 1000))
    assert.deepStrictEqual(verification.expiresAt, DateTime.unsafeMake((now + 65) * 1000))
  })

  it("claims that the schema does not take", () => {
    assert.strictEqual(told(verifier(), ours({ ...good, sub: 1 })), "claims")
    const { sub: _, ...nobody } = good
    assert.strictEqual(told(verifier(), ours(nobody)), "claims")
    // one that asks somebody is refused, and not waited for
    const slow = Schema.transformOrFail(Schema.Struct({ sub: Schema.String }), Schema.Struct({ sub: Schema.String }), {
      decode: (claims) => Effect.delay(Effect.succeed(claims), "1 second"),
      encode: Effect.succeed
    })
    assert.strictEqual(told(verifier({ claims: slow }), ours()), "claims")
  })

  describe("the cache", () => {
    it("forgets what is over, by the second", () => {
      const cached = verifier({ tolerance: 0 })
      assert.strictEqual(told(cached, ours(), now * 1000), "Verified")
      assert.strictEqual(told(cached, ours(), (now + 60) * 1000 - 1), "Verified")
      assert.strictEqual(told(cached, ours(), (now + 60) * 1000), "expired")
      // a clock that has been set back
      const later = ours({ ...good, nbf: now })
      assert.strictEqual(told(cached, later, now * 1000), "Verified")
      assert.strictEqual(told(cached, later, (now - 1) * 1000), "not-yet-valid")
    })

    const decoded = (cache: Settings["cache"]) => {
      let count = 0
      const claims = Schema.Struct({ sub: Schema.String }).pipe(Schema.filter(() => {
        count++
        return true
      }))
      const { verify } = verifier({ claims, cache })
      return (token: string, at = now * 1000) => {
        const before = count
        verify(token, at)
        return count - before
      }
    }
    const other = ours({ ...good, sub: "bo" })

    it("has a good token verified once, for a minute", () => {
      const work = decoded(undefined)
      const long = ours(lasting)
      assert.deepStrictEqual([work(long), work(long), work(other)], [1, 0, 1])
      assert.strictEqual(work(long, (now + 60) * 1000 - 1), 0)
      assert.strictEqual(work(long, (now + 60) * 1000), 1)
      assert.strictEqual(work(long, (now + 61) * 1000), 0)
    })
    it("can be turned off, and has an end", () => {
      const off = decoded(false)
      assert.deepStrictEqual([off(ours()), off(ours())], [1, 1])
      const two = decoded({ capacity: 2, ttl: "1 second" })
      assert.deepStrictEqual([two(ours()), two(ours(), now * 1000 + 999), two(ours(), now * 1000 + 1000)], [1, 0, 1])
      for (let sub = 0; sub < 3; sub++) two(ours({ ...good, sub: `${sub}` }))
      assert.strictEqual(two(ours()), 1)
    })
  })

  it.each<[option: string, settings: Settings, message: RegExp]>([
    ["no keys", { keys: [] as never }, /keys is empty: list/],
    ["an algorithm that is none", { algorithms: ["constructor" as "HS256"] }, /algorithms has "constructor"/],
    ["no issuer", { issuer: "" }, /issuer is empty: write/],
    ["no issuers", { issuer: [] as never }, /issuer is empty/],
    ["no audience", { audience: "" }, /audience is empty: write/],
    ["no audience by mistake", { audience: undefined as never }, /audience is empty/],
    ["a typ that is empty", { typ: [] as never }, /typ is empty: write/],
    ["a long tolerance", { tolerance: "61 seconds" }, /tolerance is 1m 1s: write a minute at most/],
    ["an endless tolerance", { tolerance: "Infinity" as never }, /Jwt|duration/i],
    ["no maxAge", { maxAge: 0 }, /maxAge is no time/],
    ["a size of none", { maxSize: 0 }, /maxSize is 0: write a whole number/],
    ["a cache of one", { cache: { capacity: 1 } }, /cache\.capacity is 1: write a whole number from 2/],
    ["a cache for no time", { cache: { ttl: 0 } }, /cache\.ttl is no time/],
    ["secrets of a server", { keys: Jwt.jwks({ url: "https://a.test" }) as never }, /publishes no secrets/]
  ])("throws on %s", (_, settings, message) => {
    assert.throws(() => verifier(settings), message)
  })

  it("secrets", () => {
    const bytes = (length: number) => Redacted.make(Crypto.randomBytes(length))
    assert.throws(() => Jwt.secret(bytes(31)), TypeError, /has 31 bytes where HS256 needs 32/)
    assert.throws(() => Jwt.secret(bytes(47), { algorithm: "HS384" }), TypeError, /where HS384 needs 48/)
    assert.throws(() => Jwt.secret(bytes(63), { algorithm: "HS512" }), TypeError, /where HS512 needs 64/)
    assert.throws(() => Jwt.secret(Redacted.make("secret".repeat(10))), TypeError, /placeholder/)
    assert.throws(() => Jwt.secret("a" as never), TypeError, /is not redacted: write Redacted\.make/)
    for (const algorithm of ["HS256", "HS384", "HS512"] as const) {
      const key = Jwt.secret(bytes(64), { algorithm })
      assert.deepStrictEqual(key.algorithms, [algorithm])
    }
  })

  it("other keys", () => {
    assert.throws(() => Jwt.pem("-----BEGIN"), TypeError, /the PEM is no public key/)
    assert.throws(() => Jwt.pem(pemOf(pairs.rsa.privateKey)), TypeError, /the PEM is private/)
    assert.throws(() => Jwt.jwk({ kty: "oct", k: "AAAA" }), TypeError, /the JWK is a secret/)
    assert.throws(() => Jwt.jwkSet({ keys: [{ kty: "oct", k: "AAAA" }] }), TypeError, /has no key that verifies/)
    assert.lengthOf(Jwt.jwkSet({ keys: [{ kty: "AKP" }, jwkOf(pairs.ec.publicKey), { kty: "oct", k: "AAAA" }] }), 1)
    const privateKey = (key: string | object, algorithm: Parameters<typeof Jwt.privateKey>[1]["algorithm"]) => () =>
      Jwt.privateKey(Redacted.make(key), { algorithm })
    assert.throws(privateKey(pemOf(pairs.ec.publicKey), "ES256"), TypeError, /the private key is no private key/)
    assert.throws(privateKey(pemOf(pairs.ec.privateKey), "RS256"), TypeError, /is of another type/)
    const ed448 = Crypto.generateKeyPairSync("ed448").privateKey
    assert.throws(privateKey(jwkOf(ed448), "EdDSA"), TypeError, /Ed448, which only verifies here/)
  })
})

// --- other libraries -------------------------------------------------------------------------------------------------

describe("interoperation", () => {
  const algorithms = ["HS256", "RS256", "PS256", "ES256", "EdDSA"] as const
  const pairOf = (algorithm: typeof algorithms[number]) =>
    algorithm === "ES256" ? pairs.ec : algorithm === "EdDSA" ? pairs.ed : pairs.rsa
  const signing = (algorithm: typeof algorithms[number]) =>
    algorithm === "HS256"
      ? Jwt.secret(secret, { kid: "k" })
      : Jwt.privateKey(Redacted.make(pemOf(pairOf(algorithm).privateKey)), { algorithm, kid: "k" })
  const theirs = (algorithm: typeof algorithms[number]) =>
    algorithm === "HS256"
      ? { sign: Redacted.value(secret), verify: Redacted.value(secret) }
      : { sign: pemOf(pairOf(algorithm).privateKey), verify: pemOf(pairOf(algorithm).publicKey) }
  const { sub, ...registered } = good

  for (const algorithm of algorithms) {
    const key = signing(algorithm)
    const verifies = verifier({ algorithms: [algorithm], keys: [key] })
    const issuer = Jwt.issuer({ keys: [key], lifetime: "1 minute", ...base })
    const { sign, verify } = theirs(algorithm)
    const mint = Effect.zipRight(TestClock.setTime(now * 1000), issuer.sign({ sub }))
    const clockTimestamp = now * 1000

    if (algorithm !== "EdDSA") {
      it.effect(`${algorithm} and jsonwebtoken`, () =>
        Effect.gen(function*() {
          const token = Jsonwebtoken.sign({ ...good, iat: now }, sign, { algorithm })
          assert.strictEqual(told(verifies, token), "Verified")
          const options = { algorithms: [algorithm], issuer: base.issuer, audience: base.audience, clockTimestamp: now }
          const claims = Jsonwebtoken.verify(yield* mint, verify, options)
          assert.strictEqual(claims.sub, sub)
        }))
    }
    it.effect(`${algorithm} and fast-jwt`, () =>
      Effect.gen(function*() {
        const token: unknown = createSigner({ key: sign, algorithm, noTimestamp: true })({ sub, ...registered })
        assert.strictEqual(told(verifies, String(token)), "Verified")
        const check = createVerifier({
          key: verify,
          algorithms: [algorithm],
          allowedIss: base.issuer,
          allowedAud: base.audience,
          clockTimestamp
        })
        assert.strictEqual(check(yield* mint).sub, sub)
      }))
    it.effect(`${algorithm} and jose`, () =>
      Effect.gen(function*() {
        const by = algorithm === "HS256" ? new TextEncoder().encode(sign) : pairOf(algorithm).privateKey
        const token = yield* Effect.promise(() =>
          new Jose.SignJWT(good).setProtectedHeader({ alg: algorithm }).sign(by)
        )
        assert.strictEqual(told(verifies, token), "Verified")
        const minted = yield* mint
        const { payload, protectedHeader } = yield* Effect.promise(() =>
          Jose.jwtVerify(
            minted,
            algorithm === "HS256" ? new TextEncoder().encode(verify) : pairOf(algorithm).publicKey,
            {
              algorithms: [algorithm],
              issuer: base.issuer,
              audience: base.audience,
              currentDate: new Date(now * 1000)
            }
          )
        )
        assert.strictEqual(payload.sub, sub)
        assert.deepStrictEqual(protectedHeader, { alg: algorithm, typ: "JWT", kid: "k" })
      }))
  }
})

// --- keys of another server ------------------------------------------------------------------------------------------

interface JwksServer {
  readonly url: string
  requests: number
  /** What it answers, or how. */
  answer: ReadonlyArray<object> | string | ((response: Http.ServerResponse) => void)
}

const JwksServer = (keys: JwksServer["answer"]) =>
  Effect.acquireRelease(
    Effect.async<JwksServer & { readonly server: Http.Server }>((resume) => {
      const server = Http.createServer((_, response) => {
        state.requests++
        const { answer } = state
        if (typeof answer === "function") return answer(response)
        response.end(typeof answer === "string" ? answer : JSON.stringify({ keys: answer }))
      })
      const state = { url: "", requests: 0, answer: keys, server }
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed(Object.assign(state, { url: `http://127.0.0.1:${port}/jwks` })))
      })
    }),
    ({ server }) =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )

const remote = (server: JwksServer, options: Partial<Jwt.JwksOptions> = {}) =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const { verify } = Jwt.verifier({
      algorithms: ["ES256"],
      keys: Jwt.jwks({ url: server.url, ...options }),
      ...base
    })
    return (token: string): Effect.Effect<string> =>
      Effect.gen(function*() {
        const verification = verify(token, yield* Clock.currentTimeMillis)
        const answer = Effect.isEffect(verification) ? yield* verification : verification
        if (answer._tag === "Refused") return answer.reason
        if (answer._tag === "Verified") return "Verified"
        return answer.cause instanceof Jwt.JwksUnavailable ? answer.cause.reason : `${answer.cause}`
      }).pipe(Effect.provideService(HttpClient.HttpClient, client))
  }).pipe(Effect.provide(FetchHttpClient.layer))

const gate = <A>() => {
  let resolve: (value: A) => void = () => {}
  const promise = new Promise<A>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

/** A key with its name, as a server has it. */
const ring = () => {
  const { privateKey, publicKey } = Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
  const kid = Crypto.randomUUID()
  return {
    kid,
    jwk: jwkOf(publicKey, { kid, alg: "ES256", use: "sig" }),
    token: (claims: unknown = lasting) => signedBy(privateKey, header("ES256", kid), claims)
  }
}

describe("jwks", () => {
  const at = TestClock.setTime(now * 1000)

  it.scoped("are fetched once for all who wait, and kept", () =>
    Effect.gen(function*() {
      yield* at
      const key = ring()
      const server = yield* JwksServer([key.jwk])
      const verify = yield* remote(server)
      const answers = yield* Effect.forEach(Array.from({ length: 50 }), (_, sub) =>
        verify(key.token({ ...lasting, sub: `${sub}` })), { concurrency: "unbounded" })
      assert.deepStrictEqual([...new Set(answers)], ["Verified"])
      assert.strictEqual(server.requests, 1)
      yield* TestClock.adjust("599 seconds")
      assert.strictEqual(yield* verify(key.token()), "Verified")
      assert.strictEqual(server.requests, 1)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(yield* verify(key.token()), "Verified")
      assert.strictEqual(server.requests, 2)
    }))

  it.scoped("a key that is withdrawn is none, and the tokens that it signed are forgotten", () =>
    Effect.gen(function*() {
      yield* at
      const [old, fresh] = [ring(), ring()]
      const server = yield* JwksServer([old.jwk, fresh.jwk])
      const verify = yield* remote(server)
      const token = old.token()
      assert.strictEqual(yield* verify(token), "Verified")
      server.answer = [fresh.jwk]
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* verify(token), "Verified")
      // an unknown kid has it asked
      assert.strictEqual(yield* verify(ring().token()), "unknown-key")
      assert.strictEqual(yield* verify(token), "unknown-key")
      // nor is it remembered beside one that is good by the new keys
      assert.strictEqual(yield* verify(fresh.token()), "Verified")
      assert.strictEqual(yield* verify(token), "unknown-key")
      assert.strictEqual(server.requests, 2)
      // an empty set is one
      server.answer = []
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* verify(fresh.token()), "unknown-key")
    }))

  it.scoped("rotate under load without one wrong answer", () =>
    Effect.gen(function*() {
      yield* at
      let [before, current, next] = [ring(), ring(), ring()]
      const server = yield* JwksServer([before.jwk, current.jwk, next.jwk])
      const verify = yield* remote(server)
      assert.strictEqual(yield* verify(current.token()), "Verified")
      for (let round = 1; round <= 10; round++) {
        const gone = before
        ;[before, current, next] = [current, next, ring()]
        server.answer = [before.jwk, current.jwk, next.jwk]
        yield* TestClock.adjust("30 seconds")
        const tokens = [before, current, next].flatMap((key) => [
          key.token(),
          key.token({ ...lasting, sub: Crypto.randomUUID() })
        ])
        const expected = new Map(tokens.map((token) => [token, "Verified"]))
        for (let index = 0; index < 20; index++) expected.set(ring().token(), "unknown-key")
        // the newest first, so that the keys are there
        assert.strictEqual(yield* verify(next.token()), "Verified")
        const load = Array.from({ length: 20 }, () => [...expected]).flat()
        yield* Effect.forEach(load, ([token, answer]) =>
          Effect.map(verify(token), (given) => assert.strictEqual(given, answer)), { concurrency: 50 })
        assert.strictEqual(yield* verify(gone.token()), "unknown-key")
        assert.strictEqual(server.requests, 1 + round)
      }
    }), 60_000)

  it.scoped("a key without a kid is asked for anew when a signature is not by it", () =>
    Effect.gen(function*() {
      yield* at
      const [old, fresh] = [pairs.ec, Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })]
      const server = yield* JwksServer([jwkOf(old.publicKey)])
      const verify = yield* remote(server)
      assert.strictEqual(yield* verify(signedBy(old.privateKey, { alg: "ES256" }, lasting)), "Verified")
      server.answer = [jwkOf(fresh.publicKey)]
      const token = signedBy(fresh.privateKey, { alg: "ES256" }, lasting)
      assert.strictEqual(yield* verify(token), "signature")
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* verify(token), "Verified")
      assert.strictEqual(server.requests, 2)
    }))

  it.scoped("a wrong signature by a key that is known asks nobody", () =>
    Effect.gen(function*() {
      yield* at
      const key = ring()
      const server = yield* JwksServer([key.jwk])
      const verify = yield* remote(server)
      assert.strictEqual(yield* verify(key.token()), "Verified")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* verify(`${key.token().slice(0, -86)}${"A".repeat(86)}`), "signature")
      assert.strictEqual(yield* verify(key.token({ ...lasting, exp: 1 })), "expired")
      assert.strictEqual(server.requests, 1)
    }))

  describe("a server that is down", () => {
    const failures: ReadonlyArray<readonly [reason: string, answer: JwksServer["answer"]]> = [
      ["unreachable", (response) => void response.destroy()],
      ["status", (response) => void response.writeHead(500).end("{\"keys\":[]}")],
      // where it leads, there would be a set
      [
        "unreachable",
        (response) =>
          void (response.req.url === "/jwks"
            ? response.writeHead(302, { location: "/elsewhere" }).end()
            : response.end("{\"keys\":[]}"))
      ],
      ["malformed", "{"],
      ["malformed", "[]"],
      ["malformed", "{\"keys\":{}}"],
      ["too-large", `{"keys":[]}${" ".repeat(65_536)}`]
    ]
    it.scoped.each(failures.map(([reason, answer], index) => [`${index}: ${reason}`, reason, answer] as const))(
      "cannot tell of any token, and is asked again after five seconds: %s",
      ([, reason, answer]) =>
        Effect.gen(function*() {
          yield* at
          const key = ring()
          const server = yield* JwksServer(answer)
          const verify = yield* remote(server)
          assert.strictEqual(yield* verify(key.token()), reason)
          const asked = server.requests
          assert.strictEqual(yield* verify(key.token()), "cooldown")
          // what is no token needs no key
          assert.strictEqual(yield* verify("a.b"), "malformed")
          assert.strictEqual(server.requests, asked)
          server.answer = [key.jwk]
          yield* TestClock.adjust("4999 millis")
          assert.strictEqual(yield* verify(key.token()), "cooldown")
          yield* TestClock.adjust("1 millis")
          assert.strictEqual(yield* verify(key.token()), "Verified")
          assert.strictEqual(server.requests, asked + 1)
        })
    )

    it.scoped("leaves the keys there are good for an hour", () =>
      Effect.gen(function*() {
        yield* at
        const key = ring()
        const server = yield* JwksServer([key.jwk])
        const verify = yield* remote(server)
        assert.strictEqual(yield* verify(key.token()), "Verified")
        server.answer = (response) => void response.writeHead(503).end()
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(yield* verify(key.token()), "Verified")
        assert.strictEqual(server.requests, 2)
        // not asked for each token
        yield* TestClock.adjust("29 seconds")
        assert.strictEqual(yield* verify(key.token()), "Verified")
        assert.strictEqual(yield* verify(ring().token()), "unknown-key")
        assert.strictEqual(server.requests, 2)
        yield* TestClock.adjust("1 seconds")
        assert.strictEqual(yield* verify(key.token()), "Verified")
        assert.strictEqual(server.requests, 3)
        yield* TestClock.adjust("3569999 millis")
        assert.strictEqual(yield* verify(key.token()), "Verified")
        yield* TestClock.adjust("1 millis")
        assert.notStrictEqual(yield* verify(key.token()), "Verified")
        server.answer = [key.jwk]
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* verify(key.token()), "Verified")
      }))

    it.scoped("is given five seconds; who goes away takes it from no one", () =>
      Effect.gen(function*() {
        yield* at
        const key = ring()
        const asked = gate<Http.ServerResponse>()
        const server = yield* JwksServer(asked.resolve)
        const verify = yield* remote(server)
        const first = yield* Effect.fork(verify(key.token()))
        yield* Effect.promise(() => asked.promise)
        const second = yield* Effect.fork(verify(key.token()))
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(first)
        yield* TestClock.adjust("4999 millis")
        assert.isTrue(Option.isNone(yield* Fiber.poll(second)))
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(yield* Fiber.join(second), "timeout")
        assert.strictEqual(server.requests, 1)
      }))

    it.scoped("holds up nobody who has keys", () =>
      Effect.gen(function*() {
        yield* at
        const key = ring()
        const server = yield* JwksServer([key.jwk])
        const verify = yield* remote(server)
        assert.strictEqual(yield* verify(key.token()), "Verified")
        server.answer = (response) => void response.destroy()
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(yield* verify(key.token()), "Verified")
        yield* TestClock.adjust("30 seconds")
        const asked = gate<Http.ServerResponse>()
        server.answer = asked.resolve
        const waiting = yield* Effect.fork(verify(key.token()))
        const response = yield* Effect.promise(() => asked.promise)
        assert.strictEqual(yield* verify(key.token({ ...lasting, sub: "bo" })), "Verified")
        response.end(JSON.stringify({ keys: [] }))
        assert.strictEqual(yield* Fiber.join(waiting), "unknown-key")
      }))
  })

  it.each<[what: string, options: Jwt.JwksOptions, message: RegExp]>([
    ["http", { url: "http://login.test/jwks" }, /url is none for keys: write one with https/],
    ["a host that begins like this machine", { url: "http://127.0.0.1.evil.test/" }, /url is none/],
    ["another scheme", { url: "file:///etc/passwd" }, /url is none/],
    ["a password", { url: "https://a:b@login.test/" }, /without user and password/],
    ["no URL", { url: "/jwks" }, /url is none/],
    ["a cooldown beyond maxAge", { url: "https://a.test", cooldown: "11 minutes" }, /cooldown is longer than maxAge/],
    ["no timeout", { url: "https://a.test", timeout: 0 }, /timeout is no time/],
    ["no size", { url: "https://a.test", maxSize: 0 }, /maxSize is 0/]
  ])("throws on %s", (_, options, message) => {
    assert.throws(() => Jwt.jwks(options), message)
  })
  it("takes http of this machine", () => {
    for (const host of ["localhost:1", "127.0.0.1", "127.1.2.3:80", "[::1]:1"]) Jwt.jwks({ url: `http://${host}/` })
  })
})

// --- requests --------------------------------------------------------------------------------------------------------

interface User {
  readonly id: string
}
class CurrentUser extends Authentication.Tag("test/JwtUser")<CurrentUser, User>() {}

const whoami = Effect.map(
  CurrentUser,
  ({ authenticatedAt, claims, expiresAt, method, scopes, subject, user }) =>
    HttpServerResponse.unsafeJson({
      id: user.id,
      subject,
      method,
      scopes,
      claims,
      authenticatedAt: DateTime.toEpochMillis(authenticatedAt) / 1000,
      expiresAt: Option.getOrNull(Option.map(expiresAt, (at) => DateTime.toEpochMillis(at) / 1000))
    })
)

const identity = ({ sub }: { readonly sub: string }) => ({ user: { id: sub } })

const local = { algorithms: ["HS256"], keys: [Jwt.secret(secret)], ...base } as const

const users = CurrentUser.layer(Jwt.backend({ ...local, identity }))

/** Over a socket. */
const serve = <R>(users: Layer.Layer<Authentication.BackendOf<CurrentUser>, never, R>) =>
  Effect.gen(function*() {
    yield* TestClock.setTime(now * 1000)
    const context = yield* Effect.context<R>()
    const served = Stack.serve(whoami, Stack.make(CurrentUser.required()))
    const port = yield* listen(Layer.provide(served, Layer.provide(users, Layer.succeedContext(context))))
    return (authorization?: string): Effect.Effect<Reply> =>
      request(port, authorization === undefined ? {} : { headers: { authorization } })
  })

describe("backend", () => {
  const bearer = "Bearer realm=\"app\""
  const invalid = `${bearer}, error="invalid_token"`

  it.scoped("answers with what RFC 6750 has, and says nothing of why", () =>
    Effect.gen(function*() {
      const send = yield* serve(users)
      const refusals = [
        ours({ ...good, exp: now - 60 }),
        ours({ ...good, aud: "other" }),
        ours({ ...good, iss: "other" }),
        ours({ ...good, sub: 1 }),
        hmac("another", {}),
        `${inputOf({ alg: "none" }, good)}.`,
        "a.b.c",
        "a",
        `${ours()}=`
      ]
      const bodies = new Set<string>()
      for (const token of refusals) {
        const reply = yield* send(`Bearer ${token}`)
        assert.deepStrictEqual([reply.status, reply.headers["www-authenticate"]], [401, invalid], token)
        bodies.add(reply.body)
      }
      assert.strictEqual(bodies.size, 1)
      const rows: ReadonlyArray<readonly [string | undefined, number, string | undefined]> = [
        [`Bearer ${ours()}`, 200, undefined],
        [undefined, 401, bearer],
        [`Basic ${ours()}`, 401, bearer],
        ["Bearer", 400, `${bearer}, error="invalid_request"`],
        [`Bearer ${ours()} ${ours()}`, 400, `${bearer}, error="invalid_request"`]
      ]
      for (const [authorization, status, challenge] of rows) {
        const reply = yield* send(authorization)
        assert.deepStrictEqual([reply.status, reply.headers["www-authenticate"]], [status, challenge])
      }
    }))

  it.scoped("takes from the token what identity leaves out", () =>
    Effect.gen(function*() {
      const send = yield* serve(users)
      const claims = { ...good, iat: now - 1, scope: "docs:read docs:write" }
      const reply = yield* send(`Bearer ${ours(claims)}`)
      assert.deepStrictEqual(JSON.parse(reply.body), {
        id: "ada",
        subject: "ada",
        method: "jwt",
        scopes: ["docs:read", "docs:write"],
        claims,
        authenticatedAt: now - 1,
        expiresAt: now + 65
      })
      // within the tolerance it is a principal, and then none
      yield* TestClock.adjust("64 seconds")
      assert.strictEqual((yield* send(`Bearer ${ours(claims)}`)).status, 200)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* send(`Bearer ${ours(claims)}`)).status, 401)
    }))

  it.scoped("does not outlive the token, whatever identity says", () =>
    Effect.gen(function*() {
      const later = DateTime.unsafeMake((now + 1000) * 1000)
      const sooner = DateTime.unsafeMake((now + 1) * 1000)
      for (const [expiresAt, expected] of [[later, now + 65], [sooner, now + 1], [undefined, now + 65]] as const) {
        const send = yield* serve(
          CurrentUser.layer(
            Jwt.backend({ ...local, identity: () => ({ user: { id: "a" }, subject: "b", scopes: [], expiresAt }) })
          )
        )
        const body = JSON.parse((yield* send(`Bearer ${ours({ ...good, scope: "docs:read" })}`)).body)
        assert.deepStrictEqual([body.subject, body.scopes, body.expiresAt, body.authenticatedAt], [
          "b",
          [],
          expected,
          now
        ])
      }
    }))

  it.scoped("asks whose it is", () =>
    Effect.gen(function*() {
      const send = yield* serve(CurrentUser.layer(Jwt.backend({
        ...local,
        identity: ({ sub }) => {
          if (sub === "down") return Effect.fail(new Error("the directory is down"))
          return Effect.succeed(sub === "ada" ? Option.some({ user: { id: "Ada" } }) : Option.none())
        }
      })))
      assert.strictEqual(JSON.parse((yield* send(`Bearer ${ours()}`)).body).id, "Ada")
      const gone = yield* send(`Bearer ${ours({ ...good, sub: "gone" })}`)
      assert.deepStrictEqual([gone.status, gone.headers["www-authenticate"]], [401, invalid])
      const down = yield* send(`Bearer ${ours({ ...good, sub: "down" })}`)
      assert.deepStrictEqual([down.status, down.headers["retry-after"]], [503, "5"])
    }))

  it.scoped("names who has no sub by the token", () =>
    Effect.gen(function*() {
      const send = yield* serve(
        CurrentUser.layer(
          Jwt.backend({ ...local, claims: Schema.Struct({}), identity: () => ({ user: { id: "machine" } }) })
        )
      )
      const { sub: _, ...nobody } = good
      const token = ours(nobody)
      const hash = Crypto.createHash("sha256").update(token).digest("base64url")
      assert.strictEqual(JSON.parse((yield* send(`Bearer ${token}`)).body).subject, hash.slice(0, 16))
    }))

  it.scoped("has the keys of another server, and is a 503 without them", () =>
    Effect.gen(function*() {
      const key = ring()
      const server = yield* JwksServer((response) => void response.destroy())
      const send = yield* serve(CurrentUser.layer(Jwt.backend({
        ...base,
        algorithms: ["ES256"],
        keys: Jwt.jwks({ url: server.url }),
        realm: "a \"b\"",
        resourceMetadata: "https://api.test/.well-known/oauth-protected-resource",
        identity
      })))
      const down = yield* send(`Bearer ${key.token()}`)
      assert.deepStrictEqual([down.status, down.headers["retry-after"]], [503, "5"])
      assert.isUndefined(down.headers["www-authenticate"])
      server.answer = [key.jwk]
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* send(`Bearer ${key.token()}`)).status, 200)
      const unknown = yield* send(`Bearer ${ring().token()}`)
      assert.deepStrictEqual([unknown.status, unknown.headers["www-authenticate"]], [
        401,
        "Bearer realm=\"a \\\"b\\\"\", resource_metadata=\"https://api.test/.well-known/oauth-protected-resource\", " +
        "error=\"invalid_token\""
      ])
    }).pipe(Effect.provide(FetchHttpClient.layer)))
})

// --- issuing ---------------------------------------------------------------------------------------------------------

describe("issuer", () => {
  const key = (kid?: string) =>
    Jwt.privateKey(Redacted.make(pemOf(Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey)), {
      algorithm: "ES256",
      kid
    })
  const settings = { ...base, lifetime: "1 minute" } as const
  const parts = (token: string) =>
    token.split(".").slice(0, 2).map((part): unknown => JSON.parse(Buffer.from(part, "base64url").toString()))

  it.effect("claims what it has to, and what it is given cannot change it", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(now * 1000 + 999)
      const claims = Schema.Struct({ sub: Schema.String, iss: Schema.String, exp: Schema.Number, at: Schema.Date })
      const issuer = Jwt.issuer({ ...settings, keys: [Jwt.secret(secret)], typ: "at+jwt", claims })
      const token = yield* issuer.sign({ sub: "ada", iss: "https://evil.test", exp: 1e10, at: new Date(0) }).pipe(
        Effect.provideService(Entropy.Entropy, { uuid: () => "a-uuid", bytes: (size) => new Uint8Array(size) })
      )
      assert.deepStrictEqual(parts(token), [{ alg: "HS256", typ: "at+jwt" }, {
        jti: "a-uuid",
        sub: "ada",
        at: "1970-01-01T00:00:00.000Z",
        iss: base.issuer,
        aud: base.audience,
        iat: now,
        exp: now + 60
      }])
      assert.strictEqual(told(verifier(), token), "Verified")
      assert.deepStrictEqual(yield* issuer.jwks, { keys: [] })
    }))

  it.effect("a key without a name has its thumbprint", () =>
    Effect.gen(function*() {
      const unnamed = key()
      const issuer = Jwt.issuer({ ...settings, keys: [unnamed, key("second"), Jwt.secret(secret)] })
      const thumbprint = yield* Effect.promise(() =>
        Jose.calculateJwkThumbprint(unnamed.keyObject.export({ format: "jwk" }))
      )
      assert.deepStrictEqual(parts(yield* issuer.sign({ sub: "ada" }))[0], {
        alg: "ES256",
        typ: "JWT",
        kid: thumbprint
      })
      const { keys } = yield* issuer.jwks
      assert.deepStrictEqual(keys.map(({ alg, kid, use }) => [kid, alg, use]), [
        [thumbprint, "ES256", "sig"],
        ["second", "ES256", "sig"]
      ])
      for (const jwk of keys) assert.notProperty(jwk, "d")
    }))

  it.scoped("rotates: published, then signing, then gone", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(now * 1000)
      const [old, fresh] = [key("old"), key()]
      const issuers = {
        before: Jwt.issuer({ ...settings, keys: [old] }),
        published: Jwt.issuer({ ...settings, keys: [old, fresh] }),
        signing: Jwt.issuer({ ...settings, keys: [fresh, old] }),
        after: Jwt.issuer({ ...settings, keys: [fresh] })
      }
      const server = yield* JwksServer((yield* issuers.before.jwks).keys)
      const verify = yield* remote(server)
      const first = yield* issuers.before.sign({ sub: "ada" })
      assert.strictEqual(yield* verify(first), "Verified")
      server.answer = (yield* issuers.published.jwks).keys
      yield* TestClock.adjust("30 seconds")
      const second = yield* issuers.signing.sign({ sub: "ada" })
      assert.deepStrictEqual([yield* verify(first), yield* verify(second)], ["Verified", "Verified"])
      server.answer = (yield* issuers.after.jwks).keys
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* verify(ring().token()), "unknown-key")
      assert.deepStrictEqual([yield* verify(first), yield* verify(second)], ["unknown-key", "Verified"])
      // where the keys are those of the program
      const own = verifier({ algorithms: ["ES256"], keys: [fresh, old] })
      assert.strictEqual(told(own, second, yield* Clock.currentTimeMillis), "Verified")
    }))

  it.effect("claims that do not encode", () =>
    Effect.gen(function*() {
      const issuer = Jwt.issuer({ ...settings, keys: [key()], claims: Schema.Struct({ sub: Schema.NonEmptyString }) })
      assert.strictEqual((yield* Effect.flip(issuer.sign({ sub: "" })))._tag, "ParseError")
    }))

  it("throws on mistakes", () => {
    assert.throws(() => Jwt.issuer({ ...settings, keys: [] as never }), TypeError, /keys is empty: list one/)
    assert.throws(() => Jwt.issuer({ ...settings, keys: [key()], issuer: "" }), TypeError, /issuer is empty/)
    assert.throws(
      () => Jwt.issuer({ ...settings, keys: [key()], audience: [] as never }),
      TypeError,
      /audience is empty/
    )
    assert.throws(() => Jwt.issuer({ ...settings, keys: [key()], lifetime: 0 }), RangeError, /lifetime is no time/)
    assert.throws(() => Jwt.issuer({ ...settings, keys: [key()], lifetime: 999 }), RangeError, /lifetime is less than/)
    assert.throws(() => Jwt.privateKey("a" as never, { algorithm: "ES256" }), TypeError, /is not redacted/)
  })
})
