import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as Crypto from "node:crypto"
import { type Algorithm, decode, importJwk, isSignedBy, type Key } from "../../src/internal/jwk.js"
import { checkSignature, claimsPolicy, isDate, parser, type Payload, Recent, scopesOf } from "../../src/internal/jwt.js"
import { assertLinear } from "./hostile.js"

const encoded = (value: unknown) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url")

const publicKey = (jwk: object): Key => {
  const key = importJwk(jwk)
  if (typeof key === "string") throw new Error(key)
  return key
}

// --- the vectors of the RFCs -----------------------------------------------------------------------------------------

const rfc7515 = {
  payload: "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
  secret: "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
  rsa: {
    kty: "RSA",
    n: "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs" +
      "D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV" +
      "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    e: "AQAB"
  },
  rs256:
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZc" +
    "AcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHW" +
    "EsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
  ec: {
    kty: "EC",
    crv: "P-256",
    x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
  },
  es256: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
}

const hs256 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
const hs256Signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
const unsecured = `${encoded({ alg: "none" })}.${rfc7515.payload}.`

const secretOf = (bytes: Uint8Array, algorithm: Algorithm = "HS256"): Key => ({
  kid: undefined,
  algorithms: [algorithm],
  keyObject: Crypto.createSecretKey(bytes)
})

describe("the vectors", () => {
  const parse = parser({ algorithms: ["HS256", "RS256", "ES256", "EdDSA"], types: undefined, maxSize: 8192 })
  const secret = secretOf(Buffer.from(rfc7515.secret, "base64url"))

  const rows: ReadonlyArray<readonly [rfc: string, token: string, key: Key]> = [
    ["RFC 7515 A.1 and RFC 7519 3.1, HS256", `${hs256}.${rfc7515.payload}.${hs256Signature}`, secret],
    ["RFC 7515 A.2, RS256", `eyJhbGciOiJSUzI1NiJ9.${rfc7515.payload}.${rfc7515.rs256}`, publicKey(rfc7515.rsa)],
    ["RFC 7515 A.3, ES256", `eyJhbGciOiJFUzI1NiJ9.${rfc7515.payload}.${rfc7515.es256}`, publicKey(rfc7515.ec)],
    [
      "RFC 8037 A.4, Ed25519",
      "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg" +
      "5BhVsPt9g7sVvpAr_MuM0KAg",
      publicKey({ kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
    ]
  ]
  it.each(rows)("%s", (_, token, key) => {
    const parsed = parse(token)
    if (typeof parsed === "string") return assert.fail(parsed)
    assert.isUndefined(checkSignature(parsed, [key]))
    // and of no other key
    for (const [, , other] of rows) {
      if (other !== key) assert.strictEqual(checkSignature(parsed, [other]), "unknown-key")
    }
  })

  it("RFC 7519 3.1 claims", () => {
    const check = claimsPolicy({ issuer: ["joe"], audience: undefined, tolerance: 0, maxAge: undefined })
    const checked = check(rfc7515.payload, 1300819379_000)
    assert.deepStrictEqual(typeof checked === "string" ? checked : checked.payload, {
      iss: "joe",
      exp: 1300819380,
      "http://example.com/is_root": true
    })
    assert.strictEqual(check(rfc7515.payload, 1300819380_000), "expired")
  })

  it("RFC 7515 A.5 and RFC 7519 6.1: unsecured is none", () => {
    assert.strictEqual(parse(unsecured), "algorithm")
    assert.strictEqual(unsecured.split(".")[0], "eyJhbGciOiJub25lIn0")
  })
})

// --- a token ---------------------------------------------------------------------------------------------------------

describe("parser", () => {
  const parse = parser({ algorithms: ["HS256"], types: undefined, maxSize: 1000 })
  const strict = parser({ algorithms: ["HS256"], types: ["at+jwt"], maxSize: 1000 })
  const reason = (token: string, by = parse) => {
    const parsed = by(token)
    return typeof parsed === "string" ? parsed : `${parsed.header.algorithm} ${parsed.header.kid}`
  }
  const withHeader = (header: unknown) => `${encoded(header)}.e30.AAAA`

  it.each<[what: string, token: string, expected: string]>([
    ["three parts", withHeader({ alg: "HS256" }), "HS256 undefined"],
    ["a kid", withHeader({ alg: "HS256", kid: "a/../b" }), "HS256 a/../b"],
    [
      "keys of its own are not looked at",
      withHeader({ alg: "HS256", jku: 1, x5u: 1, jwk: 1, x5c: 1 }),
      "HS256 undefined"
    ],
    [
      "the last of two members counts",
      `${encoded("{\"alg\":\"none\",\"alg\":\"HS256\"}")}.e30.AAAA`,
      "HS256 undefined"
    ],
    ["and so the other way round", `${encoded("{\"alg\":\"HS256\",\"alg\":\"none\"}")}.e30.AAAA`, "algorithm"],
    ["a prototype of its own", `${encoded("{\"__proto__\":{\"alg\":\"HS256\"}}")}.e30.AAAA`, "algorithm"],
    [
      "as many characters as there may be",
      `${withHeader({ alg: "HS256" })}${"A".repeat(1000 - 29)}`,
      "HS256 undefined"
    ],
    ["one more", `${withHeader({ alg: "HS256" })}${"A".repeat(1001 - 29)}`, "too-large"],
    ["nothing", "", "malformed"],
    ["one part", "e30", "malformed"],
    ["two parts", "e30.e30", "malformed"],
    ["four parts", `${withHeader({ alg: "HS256" })}.a`, "malformed"],
    ["five parts", `${withHeader({ alg: "dir", enc: "A128GCM" })}.a.a`, "encrypted"],
    ["six parts", `${withHeader({ alg: "dir" })}.a.a.a`, "malformed"],
    ["three parts with enc", withHeader({ alg: "HS256", enc: "A128GCM" }), "encrypted"],
    ["no header", ".e30.AAAA", "malformed"],
    ["no JSON", `${encoded("alg")}.e30.AAAA`, "malformed"],
    ["no object", `${encoded("[\"HS256\"]")}.e30.AAAA`, "malformed"],
    ["null", `${encoded("null")}.e30.AAAA`, "malformed"],
    ["padding", "eyJhbGciOiJIUzI1NiJ9==.e30.AAAA", "malformed"],
    [
      "another alphabet",
      `${Buffer.from("{\"alg\":\"HS256\",\"?\":\"~~~\"}").toString("base64")}.e30.AAAA`,
      "malformed"
    ],
    ["bits that mean nothing", `${encoded("{\"alg\":\"HS256\"} ").slice(0, -1)}B.e30.AAAA`, "malformed"],
    ["white space", ` ${withHeader({ alg: "HS256" })}`, "malformed"],
    [
      "no UTF-8",
      `${Buffer.from("{\"alg\":\"HS256\",\"a\":\"\xff\"}", "latin1").toString("base64url")}.e30.AAAA`,
      "malformed"
    ],
    ["no alg", withHeader({ typ: "JWT" }), "algorithm"],
    ["an alg in another case", withHeader({ alg: "hs256" }), "algorithm"],
    ["several", withHeader({ alg: ["HS256"] }), "algorithm"],
    ["one that is not listed", withHeader({ alg: "HS384" }), "algorithm"],
    ["an object's own", withHeader({ alg: "constructor" }), "algorithm"],
    ["crit", withHeader({ alg: "HS256", crit: ["x"], x: 1 }), "header"],
    ["crit of what is known", withHeader({ alg: "HS256", crit: ["exp"], exp: 1 }), "header"],
    ["an empty crit", withHeader({ alg: "HS256", crit: [] }), "header"],
    ["b64", withHeader({ alg: "HS256", b64: false }), "header"],
    ["zip", withHeader({ alg: "HS256", zip: "DEF" }), "header"],
    ["a kid that is no string", withHeader({ alg: "HS256", kid: 1 }), "header"],
    ["a kid that is null", withHeader({ alg: "HS256", kid: null }), "header"],
    ["typ JWT", withHeader({ alg: "HS256", typ: "JWT" }), "HS256 undefined"],
    ["typ at+jwt, in full", withHeader({ alg: "HS256", typ: "application/AT+jwt" }), "HS256 undefined"],
    ["the typ of a logout token", withHeader({ alg: "HS256", typ: "logout+jwt" }), "type"],
    ["a typ that is no string", withHeader({ alg: "HS256", typ: 1 }), "type"]
  ])("%s", (_, token, expected) => {
    assert.strictEqual(reason(token), expected)
    // the second time it is remembered
    assert.strictEqual(reason(token), expected)
  })

  it("a typ that has to be there", () => {
    assert.strictEqual(reason(withHeader({ alg: "HS256", typ: "at+JWT" }), strict), "HS256 undefined")
    assert.strictEqual(reason(withHeader({ alg: "HS256", typ: "JWT" }), strict), "type")
    assert.strictEqual(reason(withHeader({ alg: "HS256" }), strict), "type")
  })

  it("remembers no more headers than it has room for", () => {
    for (let kid = 0; kid < 100; kid++) {
      assert.strictEqual(reason(withHeader({ alg: "HS256", kid: `${kid}` })), `HS256 ${kid}`)
    }
  })

  it("is linear", () => {
    const large = parser({ algorithms: ["HS256"], types: undefined, maxSize: 1_000_000 })
    assertLinear(large)
    assertLinear((text) => large(`${text}.${text}.${text}`))
    assertLinear((text) => large(`${encoded({ alg: "HS256", typ: text })}.e30.AAAA`))
  })
})

// --- claims ----------------------------------------------------------------------------------------------------------

describe("claimsPolicy", () => {
  const now = 1_700_000_000
  const options = { issuer: ["a", "b"], audience: ["x", "y"], tolerance: 5000, maxAge: undefined }
  const good = { iss: "a", aud: "x", exp: now + 60 }
  const check = (claims: Payload | string, changed: Partial<Parameters<typeof claimsPolicy>[0]> = {}) => {
    const checked = claimsPolicy({ ...options, ...changed })(encoded(claims), now * 1000)
    return typeof checked === "string" ? checked : "good"
  }

  it.each<[what: string, claims: Payload | string, expected: string]>([
    ["what it has to be", good, "good"],
    ["another name of the issuer", { ...good, iss: "b" }, "good"],
    ["several audiences, one of them this", { ...good, aud: ["z", "y"] }, "good"],
    ["no object", "[]", "payload"],
    ["no JSON", "{", "payload"],
    ["a string", "\"a\"", "payload"],
    ["no exp", { iss: "a", aud: "x" }, "time"],
    ["exp as text", { ...good, exp: `${now + 60}` }, "time"],
    ["exp null", { ...good, exp: null }, "time"],
    ["exp beyond all numbers", "{\"iss\":\"a\",\"aud\":\"x\",\"exp\":1e400}", "time"],
    ["exp beyond all dates", { ...good, exp: 1e300 }, "time"],
    ["exp 0", { ...good, exp: 0 }, "expired"],
    ["exp below 0", { ...good, exp: -1e12 }, "expired"],
    ["over, within the tolerance", { ...good, exp: now - 4.999 }, "good"],
    ["over, with it", { ...good, exp: now - 5 }, "expired"],
    ["nbf now", { ...good, nbf: now + 5 }, "good"],
    ["nbf later", { ...good, nbf: now + 5.001 }, "not-yet-valid"],
    ["nbf as text", { ...good, nbf: "0" }, "time"],
    ["iat now", { ...good, iat: now + 5 }, "good"],
    ["iat later", { ...good, iat: now + 5.001 }, "issued-in-future"],
    ["iat as text", { ...good, iat: "0" }, "time"],
    ["no issuer", { aud: "x", exp: now + 60 }, "issuer"],
    ["another issuer", { ...good, iss: "a/" }, "issuer"],
    ["an issuer in another case", { ...good, iss: "A" }, "issuer"],
    ["a list of issuers", { ...good, iss: ["a"] }, "issuer"],
    ["no audience", { iss: "a", exp: now + 60 }, "audience"],
    ["another audience", { ...good, aud: "xx" }, "audience"],
    ["none of several", { ...good, aud: ["z"] }, "audience"],
    ["an empty list", { ...good, aud: [] }, "audience"],
    ["a list with more than text", { ...good, aud: ["x", 1] }, "audience"],
    ["an object", { ...good, aud: { x: "x" } }, "audience"]
  ])("%s", (_, claims, expected) => assert.strictEqual(check(claims), expected))

  it("maxAge", () => {
    const maxAge = 60_000
    assert.strictEqual(check(good, { maxAge }), "time")
    assert.strictEqual(check({ ...good, iat: now - 64.999 }, { maxAge }), "good")
    assert.strictEqual(check({ ...good, iat: now - 65 }, { maxAge }), "too-old")
  })

  it("any audience", () => {
    assert.strictEqual(check({ iss: "a", exp: now + 60 }, { audience: undefined }), "good")
    assert.strictEqual(check({ ...good, aud: 1 }, { audience: undefined }), "good")
  })

  it("a window that is that of the claims", () => {
    const checked = claimsPolicy({ ...options, maxAge: 60_000 })(
      encoded({ ...good, exp: now + 600, nbf: now - 2, iat: now - 1 }),
      now * 1000
    )
    if (typeof checked === "string") return assert.fail(checked)
    assert.deepStrictEqual([checked.from, checked.until], [(now - 6) * 1000, (now + 64) * 1000])
  })

  it.prop("a window says what the claims say at any time", [
    FastCheck.record({ exp: FastCheck.integer({ min: -50, max: 50 }), nbf: FastCheck.integer({ min: -50, max: 50 }) }),
    FastCheck.integer({ min: -100_000, max: 100_000 })
  ], ([{ exp, nbf }, at]) => {
    const policy = claimsPolicy({ ...options, maxAge: 20_000 })
    const claims = encoded({ ...good, exp: now + exp, nbf: now + nbf, iat: now })
    const inside = now * 1000 + Math.min(exp, 20) * 1000
    const window = policy(claims, inside)
    if (typeof window === "string") return
    const time = now * 1000 + at
    assert.strictEqual(typeof policy(claims, time) !== "string", window.from <= time && time < window.until)
  })

  it("scopes", () => {
    assert.deepStrictEqual(scopesOf({ scope: "a  b:c " }), ["a", "b:c"])
    assert.deepStrictEqual(scopesOf({ scp: "a b" }), ["a", "b"])
    assert.deepStrictEqual(scopesOf({ scp: ["a", "b c"] }), ["a", "b c"])
    assert.deepStrictEqual(scopesOf({ scope: "a", scp: ["b"] }), ["a"])
    assert.deepStrictEqual(scopesOf({ scope: ["a", 1] }), [])
    assert.deepStrictEqual(scopesOf({ scope: { a: true } }), [])
    assert.deepStrictEqual(scopesOf({}), [])
  })

  it("dates", () => {
    for (const value of [Number.NaN, Infinity, -Infinity, "1", null, undefined, 8.64e12]) assert.isFalse(isDate(value))
    for (const value of [0, -1, 1.5, 8.63e12]) assert.isTrue(isDate(value))
  })
})

// --- keys ------------------------------------------------------------------------------------------------------------

describe("keys", () => {
  const jwkOf = (key: Crypto.KeyObject) => key.export({ format: "jwk" })
  const rsa = Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 })
  const ed448 = Crypto.generateKeyPairSync("ed448")

  it.each<[what: string, jwk: unknown, expected: RegExp | ReadonlyArray<Algorithm>]>([
    ["RSA", jwkOf(rsa.publicKey), ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]],
    ["RSA for one", { ...jwkOf(rsa.publicKey), alg: "PS256", use: "sig", key_ops: ["verify"] }, ["PS256"]],
    ["P-256", rfc7515.ec, ["ES256"]],
    ["Ed448", jwkOf(ed448.publicKey), ["EdDSA", "Ed448"]],
    ["RSA with 1024 bits", jwkOf(Crypto.generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey), /2048 bits/],
    ["RSA with the exponent 1", { ...jwkOf(rsa.publicKey), e: "AQ" }, /is of no type|cannot be read/],
    ["another curve", jwkOf(Crypto.generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey), /is of no type/],
    ["a key agreement", jwkOf(Crypto.generateKeyPairSync("x25519").publicKey), /is of no type/],
    ["an algorithm of another type", { ...rfc7515.ec, alg: "RS256" }, /another type/],
    ["HMAC by name", { ...jwkOf(rsa.publicKey), alg: "HS256" }, /another type/],
    ["none by name", { ...jwkOf(rsa.publicKey), alg: "none" }, /another type/],
    ["a secret", { kty: "oct", k: rfc7515.secret }, /is a secret/],
    ["a private key", jwkOf(rsa.privateKey), /is private/],
    ["one to encrypt", { ...rfc7515.ec, use: "enc" }, /its use/],
    ["one to sign", { ...rfc7515.ec, key_ops: ["sign"] }, /key_ops/],
    ["a kid that is no string", { ...rfc7515.ec, kid: 1 }, /kid/],
    ["a point that is not on the curve", { ...rfc7515.ec, y: rfc7515.ec.x }, /cannot be read/],
    ["no object", "RSA", /is no object/],
    ["nothing", {}, /cannot be read/]
  ])("%s", (_, jwk, expected) => {
    const key = importJwk(jwk)
    if (expected instanceof RegExp) assert.match(typeof key === "string" ? key : "a key", expected)
    else assert.deepStrictEqual(typeof key === "string" ? key : key.algorithms, expected)
  })

  it.each<[Algorithm, { readonly publicKey: Crypto.KeyObject; readonly privateKey: Crypto.KeyObject }, object]>([
    ["RS256", rsa, {}],
    ["PS384", rsa, { padding: Crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 }],
    ["ES384", Crypto.generateKeyPairSync("ec", { namedCurve: "P-384" }), { dsaEncoding: "ieee-p1363" }],
    ["ES512", Crypto.generateKeyPairSync("ec", { namedCurve: "P-521" }), { dsaEncoding: "ieee-p1363" }],
    ["Ed25519", Crypto.generateKeyPairSync("ed25519"), {}],
    ["Ed448", ed448, {}]
  ])("%s", (algorithm, { privateKey, publicKey: object }, parameters) => {
    const key = publicKey(jwkOf(object))
    const hash = /^Ed/.test(algorithm) ? null : `sha${algorithm.slice(2)}`
    const made = Crypto.sign(hash, Buffer.from("a.b"), { key: privateKey, ...parameters })
    const signature = made.toString("base64url")
    assert.isTrue(isSignedBy(key, algorithm, "a.b", signature))
    assert.isFalse(isSignedBy(key, algorithm, "a.c", signature))
    // a signature of zeros, of none, with a byte more or less, and in a second spelling
    assert.isFalse(isSignedBy(key, algorithm, "a.b", Buffer.alloc(made.length).toString("base64url")))
    for (const wrong of ["", signature.slice(0, -2), `${signature}AA`, `${signature}=`, `${signature}.`]) {
      assert.isFalse(isSignedBy(key, algorithm, "a.b", wrong))
    }
  })

  it("a signature in DER is none (RFC 7518 section 3.4)", () => {
    const { privateKey, publicKey: object } = Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
    const der = Crypto.sign("sha256", Buffer.from("a.b"), privateKey).toString("base64url")
    assert.isFalse(isSignedBy(publicKey(jwkOf(object)), "ES256", "a.b", der))
  })

  it("a salt of another length is none (RFC 7518 section 3.5)", () => {
    const salted = { key: rsa.privateKey, padding: Crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 0 }
    const signature = Crypto.sign("sha256", Buffer.from("a.b"), salted).toString("base64url")
    assert.isFalse(isSignedBy(publicKey(jwkOf(rsa.publicKey)), "PS256", "a.b", signature))
  })

  it.prop(
    "base64url has one spelling",
    [FastCheck.uint8Array({ maxLength: 40 }), FastCheck.string()],
    ([bytes, text]) => {
      const spelled = Buffer.from(bytes).toString("base64url")
      assert.isTrue(decode(spelled)?.equals(bytes))
      const other = decode(text)
      if (other !== undefined) assert.strictEqual(other.toString("base64url"), text)
    }
  )
})

// --- the cache -------------------------------------------------------------------------------------------------------

describe("Recent", () => {
  it.prop("never has more than it may, and keeps what is in use", [
    FastCheck.integer({ min: 2, max: 20 }),
    FastCheck.array(FastCheck.integer({ min: 0, max: 40 }), { maxLength: 200 })
  ], ([capacity, keys]) => {
    const recent = new Recent<number>(capacity)
    for (const key of keys) {
      const before = recent.get(`${key}`)
      if (before !== undefined) assert.strictEqual(before, key)
      recent.set(`${key}`, key)
      assert.strictEqual(recent.get(`${key}`), key)
      const kept = Array.from({ length: 41 }, (_, key) => key).filter((key) => new Set(keysOf(recent)).has(`${key}`))
      assert.isAtMost(kept.length, capacity)
    }
    recent.clear()
    assert.deepStrictEqual(keysOf(recent), [])
  })

  it("what is asked for again and again stays", () => {
    const recent = new Recent<number>(10)
    recent.set("always", 1)
    for (let key = 0; key < 1000; key++) {
      recent.set(`${key}`, key)
      assert.strictEqual(recent.get("always"), 1)
    }
    assert.isUndefined(recent.get("0"))
  })
})

/** Looks without asking, which would be a use. */
const keysOf = (recent: Recent<number>): ReadonlyArray<string> =>
  ["young", "old"].flatMap((name) => {
    const generation: unknown = Reflect.get(recent, name)
    return generation instanceof Map ? Array.from(generation.keys(), String) : []
  })
