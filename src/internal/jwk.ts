/** Keys of JSON Web Signatures, each bound to the algorithms that it is for (RFC 7517, RFC 7518, RFC 8037, RFC 8725). */
import * as Crypto from "node:crypto"
import { isSame } from "./same.js"
import { weakness } from "./secret.js"

// ---------------------------------------------------------------------------------------------------------------------
// algorithms
// ---------------------------------------------------------------------------------------------------------------------

type Hash = "sha256" | "sha384" | "sha512"

/** What there is to say of an algorithm; `none` is none of them. */
const specs = {
  HS256: { type: "secret", hash: "sha256", bytes: 32 },
  HS384: { type: "secret", hash: "sha384", bytes: 48 },
  HS512: { type: "secret", hash: "sha512", bytes: 64 },
  RS256: { type: "rsa", hash: "sha256" },
  RS384: { type: "rsa", hash: "sha384" },
  RS512: { type: "rsa", hash: "sha512" },
  PS256: { type: "rsa", hash: "sha256", pss: true },
  PS384: { type: "rsa", hash: "sha384", pss: true },
  PS512: { type: "rsa", hash: "sha512", pss: true },
  ES256: { type: "ec", hash: "sha256", curve: "prime256v1" },
  ES384: { type: "ec", hash: "sha384", curve: "secp384r1" },
  ES512: { type: "ec", hash: "sha512", curve: "secp521r1" },
  EdDSA: { type: "ed" },
  Ed25519: { type: "ed", curve: "ed25519" },
  Ed448: { type: "ed", curve: "ed448" }
} as const satisfies { readonly [name: string]: Spec }

interface Spec {
  readonly type: "secret" | "rsa" | "ec" | "ed"
  readonly hash?: Hash
  readonly pss?: true
  readonly curve?: string
  /** What a secret has at least. */
  readonly bytes?: number
}

export type Algorithm = keyof typeof specs
/** Those of a secret that both sides know. */
export type SecretAlgorithm = Extract<Algorithm, `HS${string}`>

const specOf = (algorithm: Algorithm): Spec => specs[algorithm]
const names = Object.keys(specs).filter(isAlgorithm)

export function isAlgorithm(name: unknown): name is Algorithm {
  return typeof name === "string" && Object.hasOwn(specs, name)
}
export const isSecretAlgorithm = (algorithm: Algorithm): algorithm is SecretAlgorithm =>
  specOf(algorithm).type === "secret"

// ---------------------------------------------------------------------------------------------------------------------
// keys
// ---------------------------------------------------------------------------------------------------------------------

export interface Key {
  /** By which a token names it. A key without one is tried for every token. */
  readonly kid: string | undefined
  /** Those that it verifies, and no other. */
  readonly algorithms: ReadonlyArray<Algorithm>
  /** A secret or a public key. */
  readonly keyObject: Crypto.KeyObject
}

/** A key that signs; as a `Key` it is its public part, or the secret itself. */
export interface SigningKey extends Key {
  readonly algorithm: Algorithm
  readonly signing: Crypto.KeyObject
}

/** A key, or why it is none, as the end of a sentence that begins with what it is. */
export type Imported<K> = K | string

/** The algorithms that a public or private key is fit for. */
const fitting = (key: Crypto.KeyObject): ReadonlyArray<Algorithm> => {
  const { modulusLength = 0, namedCurve, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  switch (key.asymmetricKeyType) {
    case "rsa":
      // RFC 7518 section 3.3; an exponent of 1 signs nothing
      return modulusLength >= 2048 && publicExponent >= 3n ? names.filter((name) => specOf(name).type === "rsa") : []
    case "ec":
      return names.filter((name) => specOf(name).type === "ec" && specOf(name).curve === namedCurve)
    case "ed25519":
    case "ed448":
      return names.filter((name) =>
        specOf(name).type === "ed" && (specOf(name).curve ?? key.asymmetricKeyType) === key.asymmetricKeyType
      )
  }
  return []
}

interface Naming {
  readonly kid?: string | undefined
  /** The only one that it is for. Default: those that its type is fit for. */
  readonly algorithm?: unknown
}

const publicKey = (keyObject: Crypto.KeyObject, { algorithm, kid }: Naming): Imported<Key> => {
  const fit = fitting(keyObject)
  if (fit.length === 0) return unfit
  if (algorithm === undefined) return { kid, algorithms: fit, keyObject }
  const only = fit.find((name) => name === algorithm)
  return only === undefined ? notFor : { kid, algorithms: [only], keyObject }
}
const unfit = "is of no type that signs: take RSA with 2048 bits or more, P-256, P-384, P-521, Ed25519 or Ed448"
const notFor = "is of another type than its algorithm: name one that it is fit for"

const attempt = <A>(make: () => A): A | undefined => {
  try {
    return make()
  } catch {
    return undefined
  }
}

/** SPKI in PEM, and nothing that has a private part. */
export const importPem = (pem: string, naming: Naming): Imported<Key> => {
  if (attempt(() => Crypto.createPrivateKey(pem)) !== undefined) return "is private: give its public part"
  const keyObject = attempt(() => Crypto.createPublicKey(pem))
  return keyObject === undefined ?
    "is no public key in PEM: write \"-----BEGIN PUBLIC KEY-----\" and what follows" :
    publicKey(keyObject, naming)
}

/** A public key as a JWK. `use`, `key_ops` and `alg` bind it; what it says of certificates is not looked at. */
export const importJwk = (jwk: unknown): Imported<Key> => {
  if (!isRecord(jwk)) return "is no object: write a JWK"
  const { alg, key_ops: operations, kid, use } = jwk
  if (jwk["kty"] === "oct" || "k" in jwk) return "is a secret, which no set of public keys has: use Jwt.secret"
  if ("d" in jwk) return "is private: give its public part"
  if (use !== undefined && use !== "sig") return "is not for signatures: its use is another"
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify"))) {
    return "is not to verify with: its key_ops are others"
  }
  if (kid !== undefined && typeof kid !== "string") return "has a kid that is no string"
  const keyObject = attempt(() => Crypto.createPublicKey({ key: jwk, format: "jwk" }))
  return keyObject === undefined ?
    "cannot be read: write a JWK with its kty and what that needs" :
    publicKey(keyObject, { kid, algorithm: alg })
}

/** PKCS #8 in PEM, or a JWK. */
export const importPrivate = (
  material: string | object,
  algorithm: Algorithm,
  kid: string | undefined
): Imported<SigningKey> => {
  const signing = attempt(() =>
    typeof material === "string"
      ? Crypto.createPrivateKey(material)
      : Crypto.createPrivateKey({ key: { ...material }, format: "jwk" })
  )
  if (signing === undefined) return "is no private key: write PKCS #8 in PEM, or a JWK with its private part"
  const key = publicKey(Crypto.createPublicKey(signing), { kid, algorithm })
  return typeof key === "string" ? key : { ...key, algorithm, signing }
}

/** A secret that is no key of another kind by mistake: what is public would be known to all (CVE-2022-29217). */
export const importSecret = (
  secret: string | Uint8Array,
  algorithm: SecretAlgorithm,
  kid: string | undefined
): Imported<SigningKey> => {
  const bytes = Buffer.from(secret)
  const { bytes: least } = specs[algorithm]
  if (isAsymmetric(bytes)) return "is a public or private key, or a certificate: take a secret"
  if (bytes.length < least) return `has ${bytes.length} bytes where ${algorithm} needs ${least}: take a longer secret`
  const weak = weakness(bytes)
  if (weak !== undefined) return `${weak}: take a random secret`
  const keyObject = Crypto.createSecretKey(bytes)
  return { kid, algorithms: [algorithm], algorithm, keyObject, signing: keyObject }
}

const isAsymmetric = (bytes: Buffer): boolean => {
  // anywhere in it: white space before an armour has opened this door once (CVE-2026-34950)
  const text = bytes.toString("latin1")
  return ["-----BEGIN", "ssh-rsa", "ssh-dss", "ssh-ed25519", "ecdsa-sha2-", "\"kty\""].some((part) =>
    text.includes(part)
  ) ||
    ["spki", "pkcs1"].some((type) =>
      attempt(() => Crypto.createPublicKey({ key: bytes, format: "der", type: type === "spki" ? "spki" : "pkcs1" })) !==
        undefined
    )
}

// ---------------------------------------------------------------------------------------------------------------------
// signatures
// ---------------------------------------------------------------------------------------------------------------------

/** The MAC as it is written. */
export const mac = (algorithm: SecretAlgorithm, key: Crypto.KeyObject, input: string): string =>
  Crypto.createHmac(specs[algorithm].hash, key).update(input).digest("base64url")

export const isSignedBy = (key: Key, algorithm: Algorithm, input: string, signature: string): boolean => {
  // as it is written, since to decode is to take several spellings for one
  if (isSecretAlgorithm(algorithm)) return isSame(signature, mac(algorithm, key.keyObject, input))
  const bytes = decode(signature)
  if (bytes === undefined) return false
  const { hash, pss } = specOf(algorithm)
  return Crypto.verify(
    hash,
    Buffer.from(input),
    pss === true
      ? {
        key: key.keyObject,
        padding: Crypto.constants.RSA_PKCS1_PSS_PADDING,
        saltLength: Crypto.constants.RSA_PSS_SALTLEN_DIGEST
      }
      : { key: key.keyObject, dsaEncoding: "ieee-p1363" },
    bytes
  )
}

/** Bytes in base64url (RFC 7515 section 2); `undefined` for a second spelling of them, of which Node takes many. */
export const decode = (text: string): Buffer | undefined => {
  const bytes = Buffer.from(text, "base64url")
  return bytes.toString("base64url") === text ? bytes : undefined
}

export const isRecord = (value: unknown): value is { readonly [name: string]: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value)
