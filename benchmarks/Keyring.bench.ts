import { Context, Redacted } from "effect"
import { Entropy, Keyring } from "effect-middleware"
import { randomBytes } from "node:crypto"
import { bench, describe } from "vitest"
import { cookiePolicy, readCookie } from "../src/internal/cookie.js"

const value = JSON.stringify({ user: "ada", cart: "x".repeat(174) })
const context = "__Host-session"
const entropy = Context.get(Context.empty(), Entropy.Entropy)
const secrets = Array.from({ length: 3 }, () => Redacted.make(randomBytes(32)))
const [first, , last] = secrets
const keyring = Keyring.make({ keys: [first!, ...secrets.slice(1)] })
const purpose = keyring.purpose("session")

describe(`Keyring, ${value.length} bytes`, () => {
  const signed = purpose.sign(value, context)
  const sealed = purpose.seal(value, context, entropy)
  const old = Keyring.make({ keys: [last!] }).purpose("session")
  const oldSigned = old.sign(value, context)
  const forged = `${signed.slice(0, -4)}AAAA`
  const forgedSeal = `${sealed.slice(0, -8)}AAAAAAAA`

  bench("sign", () => void purpose.sign(value, context))
  bench("verify", () => void purpose.verify(signed, context))
  bench("verify, by the last of 3 keys", () => void purpose.verify(oldSigned, context))
  bench("verify, forged", () => void purpose.verify(forged, context))
  bench("verify, by no key", () => void purpose.verify("s1.AAAAAAAA.e30.AAAA", context))
  bench("seal", () => void purpose.seal(value, context, entropy))
  bench("open", () => void purpose.open(sealed, context))
  bench("open, forged", () => void purpose.open(forgedSeal, context))
  bench("purpose", () => void keyring.purpose("session"))
})

describe("cookies", () => {
  const { forHost } = cookiePolicy("Session", { name: "session", localhost: true })
  const signed = purpose.sign(value, context)
  const others = Array.from({ length: 20 }, (_, index) => `_ga_${index}=GA1.1.${index}23456789.1700000000`).join("; ")

  bench("one cookie", () => void readCookie(`${context}=${signed}`, context))
  bench("after 20 others", () => void readCookie(`${others}; ${context}=${signed}`, context))
  bench("none among 20", () => void readCookie(others, context))
  bench("the variant for a host", () => void forHost("example.com"))
})
