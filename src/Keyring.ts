/**
 * Secrets that can be rotated: what they sign or seal can be read back by this server alone, and by no other part of it.
 *
 * 1. The first key signs and seals; all of them verify and open. What is by another than the first is `stale`: sign or
 *    seal it anew, and an old key can go once its values have expired.
 * 2. Each purpose has keys of its own, and signing other ones than sealing (HKDF with SHA-256, RFC 5869). What is made
 *    for one purpose or one context (the name of a cookie, say) is nothing in another.
 * 3. Signing is HMAC with SHA-256: everybody can read the value, and nobody change it. Sealing is AES-256-GCM, with a
 *    random nonce of 96 bits: nobody can read it either.
 * 4. A text has one spelling. One with a bit flipped, or spelled in another way, is `undefined`, as is anything else
 *    that is not from here. There is no other format to fall back to, and nothing that a client sends makes it throw.
 * 5. The text that is looked at has at most 65 536 characters; what would become longer throws a `RangeError`.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import type * as Entropy from "./Entropy.js"
import { isSame } from "./internal/same.js"
import { weakness } from "./internal/secret.js"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The secrets, the newest first. A string stands for its UTF-8 bytes as they are: it is not decoded, even if it looks
   * like base64. At least 32 bytes, from a generator: `openssl rand -base64 32` makes one.
   */
  readonly keys: NonEmptyReadonlyArray<Redacted.Redacted<string | Uint8Array>>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * The keys for one purpose, derived once. A purpose is a name in the program, never anything of a client's: each is
   * kept for good. Throws unless it has 1 to 128 characters.
   */
  readonly purpose: (purpose: string) => Purpose
}

/**
 * Signs and seals for one purpose. What it gives has letters, digits, `-`, `_` and `.` alone: it can stand in a cookie,
 * a URL or a field as it is.
 *
 * A `context` is bound and not contained: who verifies or opens has to name the same one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Purpose {
  /** The value can be read by everybody. */
  readonly sign: (value: string, context: string) => string
  readonly verify: (text: string, context: string) => Opened | undefined
  /** Two seals of one value differ. The length of the value can be told. */
  readonly seal: (value: string, context: string, entropy: Entropy.Service) => string
  readonly open: (text: string, context: string) => Opened | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Opened {
  readonly value: string
  /** By a key that is no longer the first: sign or seal it anew. */
  readonly stale: boolean
}

// ---------------------------------------------------------------------------------------------------------------------
// services
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category services
 */
export class Keyring extends Context.Tag("effect-middleware/Keyring")<Keyring, Service>() {}

/**
 * Makes a keyring. Throws on a key that can be guessed (short, repetitive, a sequence, a placeholder), on one that is
 * there twice, and on none; it says which, and never prints it.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Keyring } from "effect-middleware"
 * import { Redacted } from "effect"
 * import { randomBytes } from "node:crypto"
 *
 * const [old, fresh] = [Redacted.make(randomBytes(32)), Redacted.make(randomBytes(32))]
 * const before = Keyring.make({ keys: [old] }).purpose("unsubscribe")
 * const after = Keyring.make({ keys: [fresh, old] }).purpose("unsubscribe")
 *
 * const link = before.sign("ada@example.com", "newsletter")
 * assert.deepEqual(after.verify(link, "newsletter"), { value: "ada@example.com", stale: true })
 * assert.equal(after.verify(link, "invoices"), undefined)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ keys }: Options): Service => {
  if (keys.length === 0) throw new TypeError(`Keyring: keys is empty: list a secret, ${remedy}`)
  const ring = keys.map(importKey)
  ring.forEach((key, index) => {
    const first = ring.findIndex((other) => other.equals(key))
    if (first < index) {
      throw new TypeError(`Keyring: keys[${index}] is keys[${first}] again: leave one out, or put a new one first`)
    }
  })
  const purposes = new Map<string, Purpose>()
  return {
    purpose: (name) => {
      let purpose = purposes.get(name)
      if (purpose === undefined) purposes.set(name, purpose = derive(ring, name))
      return purpose
    }
  }
}

/**
 * @example
 * ```ts
 * import { Keyring } from "effect-middleware"
 * import { Redacted } from "effect"
 *
 * // from what your secret manager gives, the newest first
 * const keyring = (fresh: string, old: string) =>
 *   Keyring.layer({ keys: [Redacted.make(fresh), Redacted.make(old)] })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Keyring> => Layer.succeed(Keyring, make(options))

/**
 * Keys from a configuration: one secret, or several with commas or white space between them, the newest first. What
 * `make` would throw on is a `ConfigError`.
 *
 * @example
 * ```ts
 * import { Keyring } from "effect-middleware"
 * import { Config } from "effect"
 *
 * // SESSION_KEYS="new,old"
 * const keyring = Keyring.layerConfig(Config.redacted("SESSION_KEYS"))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  keys: Config.Config<Redacted.Redacted>
): Layer.Layer<Keyring, ConfigError.ConfigError> =>
  Layer.effect(
    Keyring,
    Config.mapOrFail(keys, (list) =>
      Either.try({
        try: () => make({ keys: split(list) }),
        catch: (error) => ConfigError.InvalidData([], error instanceof Error ? error.message : String(error))
      }))
  )

// an empty list is for `make` to refuse
const split = (list: Redacted.Redacted): Options["keys"] => {
  const [first = "", ...rest] = Redacted.value(list).split(/[,\s]+/).filter((key) => key !== "")
  return [Redacted.make(first), ...rest.map((key) => Redacted.make(key))]
}

// ---------------------------------------------------------------------------------------------------------------------
// keys
// ---------------------------------------------------------------------------------------------------------------------

const remedy = "such as `openssl rand -base64 32` makes one"

const importKey = (key: Redacted.Redacted<string | Uint8Array>, index: number): Crypto.KeyObject => {
  if (!Redacted.isRedacted(key)) {
    throw new TypeError(`Keyring: keys[${index}] is not redacted: write Redacted.make(secret)`)
  }
  const secret = Redacted.value(key)
  const bytes = Buffer.from(secret)
  const weak = weakness(bytes)
  if (weak !== undefined) throw new TypeError(`Keyring: keys[${index}] ${weak}: take a secret ${remedy}`)
  return Crypto.createSecretKey(bytes)
}

/** A key and its short name, which stands in the text so that only that key is tried. */
interface Derived {
  readonly id: string
  readonly key: Crypto.KeyObject
}

const deriveKey = (secret: Crypto.KeyObject, use: "sign" | "seal", purpose: string): Derived => {
  const info = `effect-middleware/Keyring ${use} ${JSON.stringify(purpose)}`
  const bytes = Buffer.from(Crypto.hkdfSync("sha256", secret, "", info, 38))
  return { key: Crypto.createSecretKey(bytes.subarray(0, 32)), id: bytes.toString("base64url", 32) }
}

const derive = (ring: ReadonlyArray<Crypto.KeyObject>, purpose: string): Purpose => {
  if (purpose.length < 1 || purpose.length > 128) {
    throw new TypeError(`Keyring: a purpose of ${purpose.length} characters: name it in 1 to 128`)
  }
  return {
    ...signing(ring.map((secret) => deriveKey(secret, "sign", purpose))),
    ...sealing(ring.map((secret) => deriveKey(secret, "seal", purpose)))
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// texts
// ---------------------------------------------------------------------------------------------------------------------

const longest = 65_536

/** `s1.<id>.<value>.<mac>`, where the MAC is over the context and all that stands before it, as they are written. */
const signing = (ring: ReadonlyArray<Derived>): Pick<Purpose, "sign" | "verify"> => {
  const { current, find } = under("s1", ring)
  return {
    sign: (value, context) => {
      const signed = current.head + Buffer.from(value).toString("base64url")
      return bounded(`${signed}.${mac(current.key, context, signed)}`)
    },
    verify: (text, context) => {
      const key = find(text)
      const end = text.lastIndexOf(".")
      if (key === undefined || end < key.head.length) return undefined
      // compared as it is written, since to decode is to take several spellings for one
      if (!isSame(text.slice(end + 1), mac(key.key, context, text.slice(0, end)))) return undefined
      return { value: Buffer.from(text.slice(key.head.length, end), "base64url").toString(), stale: key !== current }
    }
  }
}

/** `e1.<id>.<nonce, ciphertext and tag>`, where the context and what stands before the nonce are associated data. */
const sealing = (ring: ReadonlyArray<Derived>): Pick<Purpose, "seal" | "open"> => {
  const { current, find } = under("e1", ring)
  return {
    seal: (value, context, entropy) => {
      const nonce = entropy.bytes(nonceLength)
      if (nonce.length !== nonceLength) {
        throw new RangeError(`Keyring: entropy gave ${nonce.length} bytes: bytes(${nonceLength}) has to give as many`)
      }
      const cipher = Crypto.createCipheriv("aes-256-gcm", current.key, nonce, gcm)
      cipher.setAAD(Buffer.from(prefix(context) + current.head))
      const sealed = Buffer.concat([nonce, cipher.update(value, "utf8"), cipher.final(), cipher.getAuthTag()])
      return bounded(current.head + sealed.toString("base64url"))
    },
    open: (text, context) => {
      const key = find(text)
      if (key === undefined) return undefined
      const body = text.slice(key.head.length)
      const sealed = Buffer.from(body, "base64url")
      // Node takes much else for base64url
      if (sealed.length < nonceLength + tagLength || sealed.toString("base64url") !== body) return undefined
      const decipher = Crypto.createDecipheriv("aes-256-gcm", key.key, sealed.subarray(0, nonceLength), gcm)
      decipher.setAAD(Buffer.from(prefix(context) + key.head))
      decipher.setAuthTag(sealed.subarray(-tagLength))
      const value = decipher.update(sealed.subarray(nonceLength, -tagLength))
      try {
        decipher.final()
      } catch {
        return undefined
      }
      return { value: value.toString(), stale: key !== current }
    }
  }
}

interface Headed extends Derived {
  /** What a text by this key begins with. */
  readonly head: string
}

/** The keys under a version, the first of them, and which of them a text is by. */
const under = (version: string, ring: ReadonlyArray<Derived>) => {
  const keys = ring.map((key): Headed => ({ ...key, head: `${version}.${key.id}.` }))
  return {
    current: keys[0]!,
    find: (text: string) => text.length > longest ? undefined : keys.find(({ head }) => text.startsWith(head))
  }
}

const bounded = (text: string): string => {
  if (text.length <= longest) return text
  throw new RangeError(`Keyring: a text of ${text.length} characters: at most ${longest} can be read back`)
}

/** A context before what it is bound to: JSON ends where it ends, so that no two pairs are one text. */
const prefix = (context: string): string => JSON.stringify(context)

const mac = (key: Crypto.KeyObject, context: string, signed: string): string =>
  Crypto.createHmac("sha256", key).update(prefix(context) + signed).digest("base64url")

const nonceLength = 12
const tagLength = 16
// OpenSSL would take a shorter tag; none is cut here, and it is told so besides
const gcm = { authTagLength: tagLength }
