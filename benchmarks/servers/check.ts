/** That a server does the work: no server is timed whose replies are not those of `work.ts`. */
import * as assert from "node:assert/strict"
import * as Fs from "node:fs"
import * as Http from "node:http"
import { setTimeout } from "node:timers/promises"
import { gunzipSync } from "node:zlib"
import type { Name } from "./contestants.js"
import type { Commands, Redis } from "./redis.js"
import {
  badTokens,
  type Case,
  cases,
  content,
  isLimited,
  isWhole,
  limits,
  me,
  origins,
  type Reply,
  visiting,
  wanted,
  window,
  withCookie
} from "./work.js"

const plain = { "content-type": "text/plain" }

/** What Starlette's own middlewares answer, where they leave no choice. */
const ownReplies: { readonly [server: string]: { readonly [name: string]: Reply } } = {
  starlette: {
    preflight: { status: 200, ...content(plain, "OK") },
    host: { status: 400, ...content(plain, "Invalid host header") },
    "whole-preflight": { status: 200, ...content(plain, "OK") }
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
  const one = asked.hasSession === true ? withCookie(asked, await begin(server, asked, port)) : asked
  const ids: Array<string | undefined> = []
  const left: Array<number> = []
  for (let i = 0; i < 2; i++) {
    const reply = await ask(port, one)
    ids.push(reply.headers["x-request-id"])
    left.push(Number(reply.headers["x-ratelimit-remaining"]))
    assert.deepEqual(normalise(reply), expected, `${what}: not the same work`)
  }
  assert.ok(asked.variant === "bare" || ids[0] !== ids[1], `${what}: two requests have one identifier`)
  if (expected.headers["x-ratelimit-remaining"] === undefined) return
  const fewer = expected.status === 429 ? 0 : 1
  assert.equal(left[1], left[0]! - fewer, `${what}: what the second request leaves of the limit`)
}

/** The cookie of a session that has been visited once; `cookie-session` has another one for the signature. */
export const begin = async (server: Name, { variant }: Case, port: number): Promise<string> => {
  const { body, headers } = await ask(port, visiting)
  assert.deepEqual(JSON.parse(body), me("42", 1), `${server}, ${variant}: what it says of a new session`)
  return cookiesOf(headers).map(({ pair }) => pair).join("; ")
}

const cookiesOf = ({ "set-cookie": fields }: Reply["headers"]) =>
  new Array<string>().concat(fields ?? []).map((field) => {
    const [pair, ...attributes] = field.split("; ")
    return { pair: pair!, attributes }
  })

/** That the session is kept, and only as the server has written it. */
export const checkSessions = async (server: Name, asked: Case, port: number): Promise<void> => {
  const visits = async (cookie: string) => {
    const { body } = await ask(port, withCookie(asked, cookie))
    return (JSON.parse(body) as { readonly visits: number }).visits
  }
  const cookie = await begin(server, asked, port)
  assert.equal(await visits(cookie), 1, `${server}: visits in a session that is new`)
  const { headers } = await ask(port, withCookie(visiting, cookie))
  const written = cookiesOf(headers).map(({ pair }) => pair).join("; ") || cookie
  assert.equal(await visits(written), 2, `${server}: visits in a session that was written twice`)
  // a letter in the middle of it
  const at = Math.floor((cookie.indexOf("=") + cookie.length) / 2)
  const forged = cookie.slice(0, at) + (cookie[at] === "A" ? "B" : "A") + cookie.slice(at + 1)
  assert.equal(await visits(forged), 0, `${server}: visits in a session that somebody else has written`)
}

/** That the origin is looked at: the requests of the cases all come from one that is allowed. */
export const checkOrigins = async (server: Name, full: Case, port: number): Promise<void> => {
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
export const checkTokens = async (server: Name, refused: Case, port: number): Promise<void> => {
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
  const limited = cases.find(({ name }) => name === (isWhole(variant) ? "whole" : "limited"))!
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

/** What a request with a session sends to Redis, after one that has been seen before. */
export const countCommands = async (server: Name, asked: Case, port: number, redis: Redis): Promise<Commands> => {
  const one = withCookie(asked, await begin(server, asked, port))
  await ask(port, one)
  const commands = await redis.count(20, () => ask(port, one))
  assert.ok(commands.roundTrips >= 2, `${server}, ${asked.name}: neither limit nor session is in Redis`)
  return commands
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
  const normalised = Object.fromEntries(kept.map(([name, value]) => [name, normal(name, value)]))
  if (headers["set-cookie"] !== undefined && cookiesOf(headers).every(isProtected)) {
    normalised["set-cookie"] = wanted.cookie
  }
  // for another client it may be compressed, or never
  if (headers["content-encoding"] === undefined && normalised["vary"] !== undefined) {
    normalised["vary"] = normalised["vary"].split(",").filter((item) => item !== "Accept-Encoding").join()
  }
  return { status, headers: normalised, body }
}

/** No script reads it, it is not sent in clear or by other sites, it is for all paths, and stays for a fortnight or so. */
const isProtected = ({ attributes }: ReturnType<typeof cookiesOf>[number]): boolean =>
  [/^httponly$/i, /^secure$/i, /^samesite=lax$/i, /^path=\/$/i, /^(?:max-age=1209\d{3}|expires=.*)$/i].every((form) =>
    attributes.some((one) => form.test(one))
  )

const normal = (name: string, value: string): string => {
  if (name === "content-type") return value.toLowerCase().replace(/; ?charset=utf-8$/, "")
  if (name === "x-request-id") return uuid4.test(value) ? wanted.id : value
  if (name === "server-timing") return total.test(value) ? wanted.time : value
  if (/^x-ratelimit-(?:remaining|reset)$/.test(name)) return /^\d+$/.test(value) ? wanted.count : value
  if (name === "retry-after") return isWait(value) ? wanted.wait : value
  if (name === "vary") value = value.toLowerCase().replace(/\b[a-z]/g, (letter) => letter.toUpperCase())
  if (!lists.test(name)) return value
  return value.split(",").map((item) => item.trim()).filter((item) => !optional.test(item.toLowerCase())).sort().join()
}
