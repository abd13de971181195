/** The least that the work can cost on Node: one function, no abstraction. */
import { randomUUID } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { createGzip, gzip, gzipSync } from "node:zlib"
import {
  exported,
  exposedHeaders,
  few,
  findUser,
  hosts,
  isLimited,
  isWhole,
  limits,
  many,
  maxAge,
  methods,
  needsRedis,
  origins,
  pieces,
  problemHeaders,
  problems,
  report,
  requestHeaders,
  unauthenticated,
  users,
  type Variant
} from "../work.js"
import { authenticate, tokenOf } from "./bearer.js"
import { listen } from "./listen.js"
import { whenSent } from "./log.js"
import { start as startWhole } from "./rawWhole.js"
import { type Count, inMemory, inRedis, seconds } from "./window.js"

const trusted = new Set(hosts)
const allowed = new Set(origins)
const json = ["content-type", "application/json"]
const problem = Object.entries(problemHeaders).flat()
const exposed = exposedHeaders.join(", ")
const preflight = [
  "access-control-allow-methods",
  methods.join(", "),
  "access-control-allow-headers",
  requestHeaders.join(", "),
  "access-control-max-age",
  `${maxAge}`
]

const absent = Object.entries(unauthenticated.absent.headers).flat()
const invalid = Object.entries(unauthenticated.invalid.headers).flat()

class UserLocked extends Error {}

const readUser = (path: string) => {
  const user = findUser(Number(path.slice("/users/".length)))
  if (user === undefined) throw new UserLocked()
  return user
}

const bare = (request: IncomingMessage, response: ServerResponse) => {
  const body = JSON.stringify(readUser(request.url!))
  response.writeHead(200, ["content-type", "application/json", "content-length", `${Buffer.byteLength(body)}`])
  response.end(body)
}

interface More {
  readonly id?: string
  readonly authenticates?: boolean
  readonly counts?: (key: string) => Count | Promise<Count>
  readonly limit?: number
  readonly compresses?: boolean
  readonly caches?: boolean
}

const full = (
  request: IncomingMessage,
  response: ServerResponse,
  { authenticates = false, caches = false, compresses = false, counts, id = randomUUID(), limit = 0 }: More = {}
) => {
  const began = performance.now()
  const fields = ["x-request-id", id]
  const timed = () => fields.push("server-timing", `total;dur=${(performance.now() - began).toFixed(1)}`)
  const send = (status: number, body: string | Buffer | undefined, ...more: ReadonlyArray<string>) => {
    timed()
    fields.push(...more)
    if (body !== undefined) fields.push("content-length", `${Buffer.byteLength(body)}`)
    response.writeHead(status, fields)
    response.end(body)
  }

  const { headers, method, url } = request
  const host = headers.host ?? ""
  const colon = host.indexOf(":")
  if (!trusted.has(colon < 0 ? host : host.slice(0, colon))) return send(400, problems.untrustedHost, ...problem)

  const { origin } = headers
  fields.push("vary", "Origin")
  if (origin !== undefined && allowed.has(origin)) {
    fields.push("access-control-allow-origin", origin, "access-control-allow-credentials", "true")
    if (method === "OPTIONS" && headers["access-control-request-method"] !== undefined) {
      return send(204, undefined, ...preflight)
    }
    fields.push("access-control-expose-headers", exposed)
  }

  if (authenticates) {
    const { authorization } = headers
    if (authorization === undefined) return send(401, unauthenticated.absent.body, ...absent)
    if (authenticate(tokenOf(authorization)) === undefined) return send(401, unauthenticated.invalid.body, ...invalid)
    fields.push("cache-control", "private", "vary", "Authorization")
  }

  const sendJson = (value: unknown) => {
    const body = JSON.stringify(value)
    if (!compresses || body.length < 1024 || headers["accept-encoding"]?.includes("gzip") !== true) {
      return send(200, body, ...json)
    }
    const coded = (bytes: Buffer) => send(200, bytes, ...json, "content-encoding", "gzip", "vary", "Accept-Encoding")
    // as long as it takes less than to leave the thread
    if (body.length <= 32_768) return coded(gzipSync(body))
    gzip(body, (error, bytes) => error === null ? coded(bytes) : response.destroy(error))
  }

  const exports = () => {
    timed()
    response.writeHead(200, [
      ...fields,
      "content-type",
      exported.type,
      "content-encoding",
      "gzip",
      "vary",
      "Accept-Encoding"
    ])
    pipeline(Readable.from(pieces()), createGzip(), response).catch(() => response.destroy())
  }

  const handle = () => {
    try {
      if (url === "/users") return sendJson(users)
      if (url === "/few") return sendJson(few)
      if (url === "/many") return sendJson(many)
      if (url === "/export") return exports()
      if (url === "/report") return send(200, caches ? cached(url) : JSON.stringify(report()), ...json)
      if (url!.startsWith("/users/")) return send(200, JSON.stringify(readUser(url!)), ...json)
      send(404, problems.notFound, ...problem)
    } catch (error) {
      if (!(error instanceof UserLocked)) throw error
      send(409, problems.userLocked, ...problem)
    }
  }

  if (counts === undefined) return handle()
  const admit = ({ count, left }: Count) => {
    if (count <= limit) return handle()
    send(429, problems.tooMany, ...problem, "retry-after", seconds(left))
  }
  const counted = counts(request.socket.remoteAddress ?? "")
  if (counted instanceof Promise) counted.then(admit, (error: Error) => response.destroy(error))
  else admit(counted)
}

const logged = (request: IncomingMessage, response: ServerResponse) => {
  const id = randomUUID()
  whenSent(response, id)
  full(request, response, { id })
}

const auth = (request: IncomingMessage, response: ServerResponse) => full(request, response, { authenticates: true })

const compressed = (request: IncomingMessage, response: ServerResponse) => full(request, response, { compresses: true })

const cache = new Map<string, { readonly body: string; readonly until: number }>()
const cached = (url: string): string => {
  const found = cache.get(url)
  if (found !== undefined && found.until > Date.now()) return found.body
  const body = JSON.stringify(report())
  cache.set(url, { body, until: Date.now() + 3_600_000 })
  return body
}

const variants = {
  bare,
  full,
  logged,
  auth,
  compressed,
  cached: (request: IncomingMessage, response: ServerResponse) => full(request, response, { caches: true })
}

export const start = (variant: Variant): Promise<number> => {
  if (isWhole(variant)) return startWhole(variant)
  if (!isLimited(variant)) return listen(createServer(variants[variant]))
  const limited = { counts: needsRedis(variant) ? inRedis() : inMemory(), limit: limits[variant] }
  return listen(createServer((request, response) => full(request, response, limited)))
}
