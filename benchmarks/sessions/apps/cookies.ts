/** Sessions in cookies by hand: the least that they can cost. */
import * as Crypto from "node:crypto"
import { cookieName, seconds, secret, type Visitor } from "../work.js"

const key = Crypto.createSecretKey(Buffer.from(secret))
const attributes = `; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=${seconds}`
const prefix = `${cookieName}=`

/** The value of the session's cookie. */
export const cookieOf = (header: string | undefined): string | undefined => {
  if (header === undefined) return undefined
  const at = header.startsWith(prefix) ? 0 : header.indexOf(`; ${prefix}`) + 2
  if (at === 1) return undefined
  const end = header.indexOf(";", at)
  return header.slice(at + prefix.length, end < 0 ? undefined : end)
}

interface Kept {
  readonly visitor: Visitor
  readonly expires: number
}

/** What a cookie holds of a visitor, for as long as it is good. */
export const keep = (visitor: Visitor) =>
  JSON.stringify({ visitor, expires: Date.now() + seconds * 1000 } satisfies Kept)
export const kept = (text: string): Visitor | undefined => {
  const { expires, visitor } = JSON.parse(text) as Kept
  return expires > Date.now() ? visitor : undefined
}

/** Of a cookie what it holds, and the other way around. */
export interface Form {
  readonly read: (cookie: string) => Visitor | undefined
  readonly write: (visitor: Visitor) => string
}

const mac = (text: string) => Crypto.createHmac("sha256", key).update(text).digest("base64url")
export const signed: Form = {
  read: (cookie) => {
    const dot = cookie.lastIndexOf(".")
    const [given, expected] = [Buffer.from(cookie.slice(dot + 1)), Buffer.from(mac(cookie.slice(0, dot)))]
    if (given.length !== expected.length || !Crypto.timingSafeEqual(given, expected)) return undefined
    return kept(Buffer.from(cookie.slice(0, dot), "base64url").toString())
  },
  write: (visitor) => {
    const text = Buffer.from(keep(visitor)).toString("base64url")
    return `${text}.${mac(text)}`
  }
}

const tag = { authTagLength: 16 }
export const encrypted: Form = {
  read: (cookie) => {
    const bytes = Buffer.from(cookie, "base64url")
    if (bytes.length < 28) return undefined
    const decipher = Crypto.createDecipheriv("aes-256-gcm", key, bytes.subarray(0, 12), tag)
    decipher.setAuthTag(bytes.subarray(-16))
    const text = decipher.update(bytes.subarray(12, -16))
    try {
      decipher.final()
    } catch {
      return undefined
    }
    return kept(text.toString())
  },
  write: (visitor) => {
    const nonce = Crypto.randomBytes(12)
    const cipher = Crypto.createCipheriv("aes-256-gcm", key, nonce, tag)
    return Buffer.concat([nonce, cipher.update(keep(visitor)), cipher.final(), cipher.getAuthTag()])
      .toString("base64url")
  }
}

/** What sets it. */
export const setCookie = (value: string): string => prefix + value + attributes
