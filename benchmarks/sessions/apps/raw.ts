/** The least that the work can cost on Node: one function, no abstraction, and nothing but what is asked for. */
import * as Crypto from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createClient } from "redis"
import { listen } from "../../servers/apps/listen.js"
import {
  cookieName,
  counted,
  greeting,
  health,
  nobody,
  seconds,
  secret,
  type Variant,
  type Visitor,
  visitor
} from "../work.js"

const key = Crypto.createSecretKey(Buffer.from(secret))
const attributes = `; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=${seconds}`
const prefix = `${cookieName}=`

const cookieOf = (header: string | undefined): string | undefined => {
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
const keep = (visitor: Visitor) => JSON.stringify({ visitor, expires: Date.now() + seconds * 1000 } satisfies Kept)
const kept = (text: string): Visitor | undefined => {
  const { expires, visitor } = JSON.parse(text) as Kept
  return expires > Date.now() ? visitor : undefined
}

/** Of a cookie what it holds, and the other way around. */
interface Form {
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

const answer = (response: ServerResponse, value: object, cookie?: string) => {
  const body = JSON.stringify(value)
  const fields = ["content-type", "application/json", "content-length", `${Buffer.byteLength(body)}`]
  if (cookie !== undefined) fields.push("set-cookie", prefix + cookie + attributes)
  response.writeHead(200, fields)
  response.end(body)
}

const inCookie = ({ read, write }: Form) => (request: IncomingMessage, response: ServerResponse) => {
  if (request.url === "/health") return answer(response, health)
  if (request.url === "/login") return answer(response, greeting(visitor), write(visitor))
  const cookie = cookieOf(request.headers.cookie)
  const found = (cookie === undefined ? undefined : read(cookie)) ?? nobody
  if (request.method === "GET") return answer(response, greeting(found))
  const changed = counted(found)
  answer(response, greeting(changed), write(changed))
}

const inRedis = async () => {
  const redis = await createClient({ url: process.env["REDIS_URL"]! }).connect()
  const keyOf = (id: string) => `raw:${id}`
  const write = (id: string, visitor: Visitor) => redis.set(keyOf(id), JSON.stringify(visitor), { EX: seconds })
  return async (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === "/health") return answer(response, health)
    if (request.url === "/login") {
      const id = Crypto.randomBytes(32).toString("base64url")
      await write(id, visitor)
      return answer(response, greeting(visitor), id)
    }
    const id = cookieOf(request.headers.cookie)
    const text = id === undefined ? null : await redis.get(keyOf(id))
    const found = text === null ? nobody : JSON.parse(text) as Visitor
    if (request.method === "GET" || id === undefined) return answer(response, greeting(found))
    const changed = counted(found)
    await write(id, changed)
    answer(response, greeting(changed))
  }
}

export const start = async (variant: Variant): Promise<number> =>
  listen(
    createServer(
      variant === "signed" ? inCookie(signed) : variant === "encrypted" ? inCookie(encrypted) : await inRedis()
    )
  )
