/** That a server does the work: no server is timed whose replies are not those of `work.ts`. */
import * as assert from "node:assert/strict"
import * as Fs from "node:fs"
import * as Http from "node:http"
import { setTimeout } from "node:timers/promises"
import { gunzipSync } from "node:zlib"
import type { Name } from "./contestants.js"
import type { Redis } from "./redis.js"
import { badTokens, type Case, cases, content, isLimited, limits, origins, type Reply, wanted, window } from "./work.js"

const plain = { "content-type": "text/plain" }

/** What Starlette's own middlewares answer, where they leave no choice. */
const ownReplies: { readonly [server: string]: { readonly [name: string]: Reply } } = {
  starlette: {
    preflight: { status: 200, ...content(plain, "OK") },
    host: { status: 400, ...content(plain, "Invalid host header") }
  }
}

export const expectedOf = (server: Name, { expected, name }: Case): Reply => {
  const own = ownReplies[server]?.[name]
  if (own === undefined) return expected
  const { "cache-control": _, ...headers } = expected.headers
  return { ...own, headers: { ...headers, ...own.headers } }
}

/** Asks twice, since an identifier that is the same each time is none. */
export const check = async (server: Name, asked: Case, port: number): Promise<void> => {
  const what = `${server}, ${asked.name}`
  const expected = expectedOf(server, asked)
  const ids: Array<string | undefined> = []
  for (let i = 0; i < 2; i++) {
    const reply = await ask(port, asked)
    ids.push(reply.headers["x-request-id"])
    assert.deepEqual(normalise(reply), expected, `${what}: not the same work`)
  }
  assert.ok(asked.variant === "bare" || ids[0] !== ids[1], `${what}: two requests have one identifier`)
}

/** That the origin is looked at: the requests of the cases all come from one that is allowed. */
export const checkOrigins = async (server: Name, port: number): Promise<void> => {
  const full = cases.find(({ name }) => name === "full")!
  for (const origin of [origins[1]!, "https://evil.test"]) {
    const { headers } = await ask(port, { ...full, headers: { ...full.headers, origin } })
    assert.equal(
      headers["access-control-allow-origin"],
      origins.includes(origin) ? origin : undefined,
      `${server}: what it says to ${origin}`
    )
  }
}

/** That a token is looked at: each check that all have. */
export const checkTokens = async (server: Name, port: number): Promise<void> => {
  const refused = cases.find(({ name }) => name === "401")!
  for (const [what, token] of Object.entries(badTokens)) {
    const { status } = await ask(port, {
      ...refused,
      headers: { ...refused.headers, authorization: `Bearer ${token}` }
    })
    assert.equal(status, 401, `${server}: what it says to a token of which the ${what} is wrong`)
  }
}

/** For a case that is refused: uses up the limit of a new server, which admits that many and not one more. */
export const useUp = async (server: Name, { expected, variant }: Case, port: number): Promise<void> => {
  if (!isLimited(variant) || expected.status !== 429) return
  const limited = cases.find(({ name }) => name === "limited")!
  const statuses: Array<number> = []
  for (let i = 0; i <= limits[variant]; i++) statuses.push((await ask(port, limited)).status)
  const admitted = statuses.slice(1).fill(200)
  assert.deepEqual(statuses, [...admitted, 429], `${server}: what it says to one request more than it admits`)
}

/** That a request is one round trip to Redis. */
export const checkRoundTrips = async (server: Name, limited: Case, port: number, redis: Redis): Promise<void> => {
  const { roundTrips } = await redis.count(20, () => ask(port, limited))
  assert.equal(roundTrips, 1, `${server}, ${limited.name}: round trips to Redis a request`)
}

/** That the access log says of a request what is known of it, whatever it calls it. */
export const checkLog = async (server: Name, logged: Case, port: number, file: string): Promise<void> => {
  const { headers } = await ask(port, logged)
  const find = () => Fs.readFileSync(file, "utf8").split("\n").filter((line) => line.includes(headers["x-request-id"]!))
  // a line may be written after the response
  for (let i = 0; i < 100 && find().length === 0; i++) await setTimeout(10)
  const lines = find()
  assert.equal(lines.length, 1, `${server}: lines a request`)
  const said = JSON.stringify(JSON.parse(lines[0]!))
  for (const what of [logged.method, logged.path, `${logged.expected.status}`, "127.0.0.1"]) {
    assert.ok(said.includes(what), `${server}: its log does not say ${what}: ${said}`)
  }
}

export const ask = (
  port: number,
  { headers, method, path }: Pick<Case, "headers" | "method" | "path">
): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const request = Http.request({ port, method, path, headers, agent: false }, async (response) => {
      const bytes = Buffer.concat(await response.toArray())
      const { headers, rawHeaders, statusCode } = response
      const body = (headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes).toString()
      const names = rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase())
      const twice = names.filter((name, i) => names.indexOf(name) < i && name !== "vary" && name !== "set-cookie")
      if (twice.length > 0) return reject(new Error(`${method} ${path}: sends ${twice.join(", ")} twice`))
      resolve({ status: statusCode!, headers: headers as Record<string, string>, body })
    })
    request.on("error", reject).end()
  })

const lists = /^(?:vary|access-control-(?:allow-methods|allow-headers|expose-headers))$/
/** Members of lists that may be named or not: allowed anyhow, or of no consequence here. */
const optional =
  /^(?:accept|accept-language|content-language|content-type|access-control-request-(?:method|headers|private-network))$/
const uuid4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const total = /^total;dur=\d+(?:\.\d+)?$/
const isWait = (value: string) => /^[1-9]\d*$/.test(value) && Number(value) * 1000 <= window

/** What Node says of the connection, and what says nothing. */
const ignored = (name: string, value: string, { headers, status }: Reply): boolean =>
  // what is compressed is as long as it is
  (headers["content-encoding"] !== undefined && (name === "content-length" || name === "transfer-encoding")) ||
  // what is stored says its age
  name === "age" || name === "date" || name === "connection" || name === "keep-alive" ||
  // `cors` of Express and `@fastify/cors` send it, for an old Safari; a preflight has nothing to expose
  (status === 204 && ((name === "content-length" && value === "0") || name === "access-control-expose-headers"))

const normalise = (reply: Reply): Reply => {
  const { body, headers, status } = reply
  const kept = Object.entries(headers).filter(([name, value]) => !ignored(name, value, reply))
  return { status, headers: Object.fromEntries(kept.map(([name, value]) => [name, normal(name, value)])), body }
}

const normal = (name: string, value: string): string => {
  if (name === "content-type") return value.toLowerCase().replace(/; ?charset=utf-8$/, "")
  if (name === "x-request-id") return uuid4.test(value) ? wanted.id : value
  if (name === "server-timing") return total.test(value) ? wanted.time : value
  if (name === "retry-after") return isWait(value) ? wanted.wait : value
  if (name === "vary") value = value.toLowerCase().replace(/\b[a-z]/g, (letter) => letter.toUpperCase())
  if (!lists.test(name)) return value
  return value.split(",").map((item) => item.trim()).filter((item) => !optional.test(item.toLowerCase())).sort().join()
}
