/** The least that the whole stack can cost on Node: one function, no abstraction. */
import { Redis } from "ioredis"
import { randomBytes, randomUUID } from "node:crypto"
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http"
import { gzipSync } from "node:zlib"
import { cookieOf, setCookie, signed } from "../../sessions/apps/cookies.js"
import { counted, nobody, seconds as lifetime, type Visitor, visitor } from "../../sessions/work.js"
import {
  exposedHeaders,
  hosts,
  limits,
  maxAge,
  me,
  methods,
  needsRedis,
  origins,
  problemHeaders,
  problems,
  requestHeaders,
  securityHeaders,
  team,
  unauthenticated,
  type Whole
} from "../work.js"
import { authenticate, tokenOf } from "./bearer.js"
import { listen } from "./listen.js"
import { clientOf } from "./proxy.js"
import { prefix, url } from "./redis.js"
import { type Count, inMemory, inRedis, seconds } from "./window.js"

const trusted = new Set(hosts)
const allowed = new Set(origins)
const json = ["content-type", "application/json"]
const problem = Object.entries(problemHeaders).flat()
const security = Object.entries(securityHeaders).flat()
const absent = Object.entries(unauthenticated.absent.headers).flat()
const invalid = Object.entries(unauthenticated.invalid.headers).flat()
const exposed = exposedHeaders.join(", ")
const preflight = [
  "access-control-allow-methods",
  methods.join(", "),
  "access-control-allow-headers",
  requestHeaders.join(", "),
  "access-control-max-age",
  `${maxAge}`
]

/** Reads what a session holds, and writes it: gives the cookie, where there is another one. */
interface Sessions {
  readonly read: (cookie: string) => Visitor | undefined | Promise<Visitor | undefined>
  readonly write: (cookie: string | undefined, visitor: Visitor) => string | Promise<string | undefined>
}

const inCookie: Sessions = { read: signed.read, write: (_cookie, visitor) => signed.write(visitor) }

const stored = (): Sessions => {
  const redis = new Redis(url)
  return {
    read: async (id) => {
      const text = await redis.get(prefix + id)
      return text === null ? undefined : JSON.parse(text) as Visitor
    },
    write: async (known, visitor) => {
      const id = known ?? randomBytes(32).toString("base64url")
      await redis.set(prefix + id, JSON.stringify(visitor), "EX", lifetime)
      return known === undefined ? id : undefined
    }
  }
}

/** What answers `GET /me` and `GET /me/team`: here by hand, in floor.ts by an Effect. */
type Read = (
  request: IncomingMessage,
  subject: string,
  visitor: Visitor,
  send: (body: string | Uint8Array) => void
) => void

const readHere: Read = ({ url }, subject, { visits }, send) =>
  send(JSON.stringify(url === "/me" ? me(subject, visits) : team(visits)))

const handler = (variant: Whole, answer: Read): RequestListener => {
  const limit = limits[variant]
  const count = needsRedis(variant) ? inRedis() : inMemory()
  const sessions = needsRedis(variant) ? stored() : inCookie

  return (request: IncomingMessage, response: ServerResponse) => {
    const began = performance.now()
    const fields = [...security, "x-request-id", randomUUID()]
    const send = (status: number, body: string | Uint8Array | undefined, more: ReadonlyArray<string>) => {
      fields.push("server-timing", `total;dur=${(performance.now() - began).toFixed(1)}`, ...more)
      if (body !== undefined) fields.push("content-length", `${Buffer.byteLength(body)}`)
      response.writeHead(status, fields)
      response.end(body)
    }

    const { headers, method, url } = request
    const host = headers.host ?? ""
    const colon = host.indexOf(":")
    if (!trusted.has(colon < 0 ? host : host.slice(0, colon))) return send(400, problems.untrustedHost, problem)

    const { origin } = headers
    fields.push("vary", "Origin")
    if (origin !== undefined && allowed.has(origin)) {
      fields.push("access-control-allow-origin", origin, "access-control-allow-credentials", "true")
      if (method === "OPTIONS" && headers["access-control-request-method"] !== undefined) {
        return send(204, undefined, preflight)
      }
      fields.push("access-control-expose-headers", exposed)
    }

    const sendJson = (body: string | Uint8Array) => {
      if (body.length < 1024 || headers["accept-encoding"]?.includes("gzip") !== true) return send(200, body, json)
      fields.push("content-encoding", "gzip", "vary", "Accept-Encoding")
      send(200, gzipSync(body), json)
    }

    const handle = (subject: string) => {
      const cookie = cookieOf(headers.cookie)
      const read = (use: (found: Visitor | undefined) => void) => {
        const found = cookie === undefined ? undefined : sessions.read(cookie)
        if (found instanceof Promise) found.then(use, (error: Error) => response.destroy(error))
        else use(found)
      }
      if (method === "GET" && (url === "/me" || url === "/me/team")) {
        return read((found = nobody) => answer(request, subject, found, sendJson))
      }
      if (method !== "POST" || url !== "/me/visits") return send(404, problems.notFound, problem)
      read((found) => {
        const changed = counted(found ?? visitor)
        const answer = (value: string | undefined) => {
          if (value !== undefined) fields.push("set-cookie", setCookie(value))
          sendJson(JSON.stringify(me(subject, changed.visits)))
        }
        // what is good for nothing is not written to
        const written = sessions.write(found === undefined ? undefined : cookie, changed)
        if (written instanceof Promise) written.then(answer, (error: Error) => response.destroy(error))
        else answer(written)
      })
    }

    const admit = ({ count, left }: Count) => {
      fields.push(
        "x-ratelimit-limit",
        `${limit}`,
        "x-ratelimit-remaining",
        `${Math.max(0, limit - count)}`,
        "x-ratelimit-reset",
        seconds(Date.now() + left)
      )
      if (count > limit) return send(429, problems.tooMany, [...problem, "retry-after", seconds(left)])
      const { authorization } = headers
      if (authorization === undefined) return send(401, unauthenticated.absent.body, absent)
      const claims = authenticate(tokenOf(authorization))
      if (claims === undefined) return send(401, unauthenticated.invalid.body, invalid)
      fields.push("cache-control", "private", "vary", "Authorization, Cookie")
      handle(claims.sub)
    }

    const counting = count(clientOf(request) ?? "")
    if (counting instanceof Promise) counting.then(admit, (error: Error) => response.destroy(error))
    else admit(counting)
  }
}

export const start = (variant: Whole, answer = readHere): Promise<number> =>
  listen(createServer(handler(variant, answer)))
