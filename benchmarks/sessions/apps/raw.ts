/** The least that the work can cost on Node: one function, no abstraction, and nothing but what is asked for. */
import * as Crypto from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createClient } from "redis"
import { listen } from "../../servers/apps/listen.js"
import { counted, greeting, health, nobody, seconds, type Variant, type Visitor, visitor } from "../work.js"
import { cookieOf, encrypted, type Form, setCookie, signed } from "./cookies.js"

const answer = (response: ServerResponse, value: object, cookie?: string) => {
  const body = JSON.stringify(value)
  const fields = ["content-type", "application/json", "content-length", `${Buffer.byteLength(body)}`]
  if (cookie !== undefined) fields.push("set-cookie", setCookie(cookie))
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
