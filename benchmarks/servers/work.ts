/**
 * The application that every server is: what it is asked, and what has to come of it.
 *
 * Outermost first: who the client is (no proxy is trusted), the time it took, a request id, trusted hosts, CORS,
 * failures and unknown routes as problem details, and a router of a few routes. The variant `auth` has a bearer token
 * between CORS and the rest, those that limit have a fixed window for each address there, `compressed` has gzip, and
 * `cached` a cache. The whole stack has all of it but the cache, security headers and a session; see `Whole`.
 */
import { createHmac } from "node:crypto"
import * as Sessions from "../sessions/work.js"

export const hosts: readonly [string, ...ReadonlyArray<string>] = ["api.example.com", "www.example.com", "localhost"]
export const origins = ["https://app.example.com", "https://admin.example.com"]
export const exposedHeaders = ["x-request-id", "server-timing"]
export const methods = ["GET", "HEAD", "POST", "DELETE"]
export const requestHeaders = ["authorization", "x-requested-with"]
export const maxAge = 600

export interface User {
  readonly id: number
  readonly name: string
  readonly email: string
}

const user = (id: number): User => ({ id, name: "Ada Lovelace", email: "ada@example.com" })

const several = (length: number): ReadonlyArray<User> => Array.from({ length }, (_, i) => user(i + 1))

/** 20 kB of JSON. */
export const users = several(340)
/** 1 kB, and 100 kB. */
export const few = several(18)
export const many = several(1700)

/** 10 MB, which nobody has at once: a piece at a time. */
export const exported = {
  type: "text/csv",
  pieces: 160,
  piece: Buffer.from(
    several(1400).map(({ email, id, name }) => `${id},${name},${email}\n`).join("").padEnd(65_536, "\n")
  )
}

export const lockedId = 13

/** `undefined` is a user that is locked, which each server has a failure of its own for. */
export const findUser = (id: number): User | undefined => (id === lockedId ? undefined : user(id))

export const problemHeaders = { "content-type": "application/problem+json", "cache-control": "no-store" }

/** The bodies of what is refused and of what fails. */
export const problems = {
  untrustedHost: JSON.stringify({
    title: "Bad Request",
    status: 400,
    detail: "The Host header names no host of this server"
  }),
  notFound: JSON.stringify({ title: "Not Found", status: 404 }),
  userLocked: JSON.stringify({ type: "https://example.com/problems/user-locked", title: "User locked", status: 409 }),
  tooMany: JSON.stringify({ title: "Too Many Requests", status: 429, detail: "There were too many requests" })
}

export const pieces = function*() {
  for (let i = 0; i < exported.pieces; i++) yield exported.piece
}

/** What takes a millisecond of the processor to know. */
export const report = (): ReadonlyArray<User> => {
  const began = performance.now()
  while (performance.now() - began < 1);
  return few
}

/** Signs the tokens, by HS256; `starlette.py` has it, the issuer and the audience too. */
export const secret = "of these benchmarks, and of nothing else"
export const issuer = "https://login.example.com"
export const audience = "https://api.example.com"

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

const token = (claims: object = {}, by = secret, alg = "HS256") => {
  // of 2025 and until 2100: the same in each process
  const all = { iss: issuer, aud: audience, sub: "42", iat: 1_735_689_600, exp: 4_102_444_800, ...claims }
  const input = `${base64url({ alg, typ: "JWT" })}.${base64url(all)}`
  return `${input}.${createHmac(`sha${alg.slice(2)}`, by).update(input).digest("base64url")}`
}

/** None of them is good, for one reason each. */
export const badTokens = {
  signature: token({}, "of somebody else, whoever that may be"),
  algorithm: token({}, secret, "HS512"),
  issuer: token({ iss: "https://login.example.org" }),
  audience: token({ aud: "https://other.example.com" }),
  expired: token({ exp: 1_735_693_200 })
}

export interface Refusal {
  readonly headers: typeof problemHeaders & { readonly "www-authenticate": string }
  readonly body: string
}

/** What a request without a token is told, and one whose token is not good. */
export const unauthenticated: { readonly [of in "absent" | "invalid"]: Refusal } = {
  absent: {
    headers: { ...problemHeaders, "www-authenticate": "Bearer realm=\"app\"" },
    body: JSON.stringify({ title: "Unauthorized", status: 401, detail: "Credentials are required" })
  },
  invalid: {
    headers: { ...problemHeaders, "www-authenticate": "Bearer realm=\"app\", error=\"invalid_token\"" },
    body: JSON.stringify({ title: "Unauthorized", status: 401, detail: "The credentials are not good" })
  }
}

/** On every response of the whole stack. */
export const securityHeaders = {
  "content-security-policy":
    "default-src 'self'; script-src 'self'; script-src-attr 'none'; style-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
  "content-security-policy-report-only": "default-src 'self'; report-to csp",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "origin-agent-cluster": "?1",
  "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
  "referrer-policy": "same-origin",
  "reporting-endpoints": "csp=\"https://reports.example.com/csp\"",
  "strict-transport-security": "max-age=31536000",
  "x-content-type-options": "nosniff",
  "x-frame-options": "SAMEORIGIN"
}

/** Who is asking: the subject of the token, and how often the session has seen them. */
export const me = (subject: string, visits: number) => ({ ...user(Number(subject)), visits })
/** The same with 20 kB beside it. */
export const team = (visits: number) => ({ visits, users })

/** How many requests of an address each of these admits in a window: more than ever come, or few enough to be used up. */
export const limits = {
  limited: 1e9,
  refused: 5,
  "redis-limited": 1e9,
  "redis-refused": 5,
  whole: 1e9,
  "whole-refused": 5,
  "whole-redis": 1e9
}

/** A fixed window, from the first request on, in milliseconds: a day, so that none ends while it is measured. */
export const window = 86_400_000

/** In the memory of the process, or in the Redis at `REDIS_URL`. */
export type Limited = keyof typeof limits

/**
 * The whole stack, behind a proxy that ends TLS and is trusted. Outermost first: who the client is, the time it took, a
 * request id, security headers, trusted hosts, CORS, gzip for what is a kilobyte or more, failures and unknown routes as
 * problem details, a limit for each address and the fields that say where it stands, a session in a signed cookie or in
 * Redis, a bearer token, and a router:
 *
 * - `GET /me` says who is asking, by the token, and how often they have come, by the session
 * - `GET /me/team` says the latter, and 20 kB beside it
 * - `POST /me/visits` counts one more in the session, and says who is asking
 */
export type Whole = "whole" | "whole-refused" | "whole-redis"

/**
 * Without any middleware; with all of it; with a line of JSON a request on standard output beside; with a token for each
 * request; with a limit; with gzip for what is a kilobyte or more; with a cache of what has no time of its own; and whole.
 */
export type Variant = "bare" | "full" | "logged" | "auth" | "compressed" | "cached" | Limited

export const isLimited = (variant: Variant): variant is Limited => Object.hasOwn(limits, variant)
export const isWhole = (variant: Variant): variant is Whole => variant.startsWith("whole")
export const needsRedis = (variant: Variant): boolean => /\bredis\b/.test(variant)

export interface Case {
  readonly name: string
  readonly is: string
  readonly variant: Variant
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly expected: Reply
  /** Whether it is asked with a session that the server has begun. */
  readonly hasSession?: boolean
  /** So many times fewer are asked for: of what takes long. */
  readonly weight?: number
}

/** A reply as `check.ts` reads it: names in lower case, without what is about the connection. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const sent = {
  host: hosts[0]!,
  "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  accept: "application/json",
  "accept-language": "en-GB,en;q=0.8",
  "accept-encoding": "gzip, deflate, br",
  origin: origins[0]!,
  referer: `${origins[0]!}/`
}

export const content = (headers: Readonly<Record<string, string>>, body: string): Pick<Reply, "body" | "headers"> => ({
  headers: { ...headers, "content-length": `${Buffer.byteLength(body)}` },
  body
})

const json = (value: unknown) => content({ "content-type": "application/json" }, JSON.stringify(value))
const problem = (body: string) => content(problemHeaders, body)

/** In place of what is never the same, once it is seen to be such. */
export const wanted = {
  id: "<uuid>",
  time: "total;dur=<time>",
  wait: "<seconds>",
  count: "<count>",
  cookie: "<cookie>"
}

const answered = { "x-request-id": wanted.id, "server-timing": wanted.time }
const allowed = {
  "access-control-allow-origin": sent.origin,
  "access-control-allow-credentials": "true",
  vary: "Origin"
}
const exposed = { ...allowed, "access-control-expose-headers": [...exposedHeaders].sort().join() }

type Changes = Partial<Pick<Case, "method" | "path" | "headers">>

const full = (
  name: string,
  is: string,
  { headers, method = "GET", path = "/users/42" }: Changes,
  status: number,
  reply: Pick<Reply, "body" | "headers">
): Case => ({
  name,
  is,
  variant: "full",
  method,
  path,
  headers: { ...sent, ...headers },
  expected: { status, headers: { ...answered, ...reply.headers }, body: reply.body }
})

const crossOrigin = (reply: Pick<Reply, "body" | "headers">) => ({
  ...reply,
  headers: { ...exposed, ...reply.headers }
})
const one = json(user(42))

const auth = (
  name: string,
  is: string,
  token: string | undefined,
  status: number,
  { body, headers }: { readonly headers: Readonly<Record<string, string>>; readonly body: string }
): Case => ({
  ...full(
    name,
    is,
    { headers: token === undefined ? {} : { authorization: `Bearer ${token}` } },
    status,
    crossOrigin(content(headers, body))
  ),
  variant: "auth"
})

const compressed = (
  name: string,
  is: string,
  path: string,
  { body, headers: { "content-type": type } }: Pick<Reply, "body" | "headers">,
  weight = 1
): Case => ({
  ...full(
    name,
    is,
    { path, headers: { "accept-encoding": "gzip" } },
    200,
    { body, headers: { ...exposed, "content-type": type!, "content-encoding": "gzip", vary: "Accept-Encoding,Origin" } }
  ),
  variant: "compressed",
  weight
})

const standing = (variant: Whole) => ({
  "x-ratelimit-limit": `${limits[variant]}`,
  "x-ratelimit-remaining": wanted.count,
  "x-ratelimit-reset": wanted.count
})

const whole = (
  name: string,
  is: string,
  { headers, ...changes }: Changes,
  status: number,
  reply: Pick<Reply, "body" | "headers">,
  variant: Whole = "whole"
): Case => {
  const one = full(name, is, { path: "/me", ...changes }, status, reply)
  return {
    ...one,
    headers: { ...one.headers, ...proxied, "accept-encoding": "gzip", authorization: `Bearer ${token()}`, ...headers },
    expected: { ...one.expected, headers: { ...one.expected.headers, ...securityHeaders } },
    variant,
    hasSession: true
  }
}

const { "x-forwarded-for": client, "x-forwarded-proto": scheme } = Sessions.headersWith(undefined)
const proxied = { "x-forwarded-for": client!, "x-forwarded-proto": scheme! }

const gzipped = ({ body, headers }: Pick<Reply, "body" | "headers">) => {
  const { "content-length": _, vary, ...others } = headers as Record<string, string>
  return { body, headers: { ...others, "content-encoding": "gzip", vary: `Accept-Encoding,${vary}` } }
}
const setting = ({ body, headers }: Pick<Reply, "body" | "headers">) => ({
  body,
  headers: { ...headers, "set-cookie": wanted.cookie }
})

/** A reply that the limit has let through, and what token and session add to one for their owner. */
const counted = (reply: Pick<Reply, "body" | "headers">, variant: Whole = "whole") =>
  crossOrigin({ ...reply, headers: { ...standing(variant), ...reply.headers } })
const own = (value: unknown, variant: Whole = "whole") => {
  const { body, headers } = json(value)
  return counted(
    { body, headers: { ...headers, "cache-control": "private", vary: "Authorization,Cookie,Origin" } },
    variant
  )
}

const everything = full("full", "every middleware, 60 bytes of JSON", {}, 200, crossOrigin(one))

const refused = full(
  "429",
  "a limit in memory that is used up",
  {},
  429,
  crossOrigin(content({ ...problemHeaders, "retry-after": wanted.wait }, problems.tooMany))
)

const preflight = {
  method: "OPTIONS",
  headers: { "access-control-request-method": "DELETE", "access-control-request-headers": "authorization" }
}
const preflighted = {
  headers: {
    ...allowed,
    "access-control-allow-methods": [...methods].sort().join(),
    "access-control-allow-headers": [...requestHeaders].sort().join(),
    "access-control-max-age": `${maxAge}`
  },
  body: ""
}

const withoutCredentials = ({ headers: { authorization: _, ...headers }, ...one }: Case): Case => ({
  ...one,
  headers,
  hasSession: false
})

export const cases: ReadonlyArray<Case> = [
  {
    name: "bare",
    is: "no middleware at all, 60 bytes of JSON",
    variant: "bare",
    method: "GET",
    path: "/users/42",
    headers: sent,
    expected: { status: 200, ...one }
  },
  everything,
  full(
    "20k",
    "every middleware, 20 kB of JSON",
    { path: "/users" },
    200,
    crossOrigin(json(users))
  ),
  full(
    "preflight",
    "the question a browser asks before a request",
    preflight,
    204,
    preflighted
  ),
  full(
    "host",
    "a host that is not trusted, refused",
    { headers: { host: "evil.test" } },
    400,
    problem(problems.untrustedHost)
  ),
  full("404", "no such route", { path: "/nowhere" }, 404, crossOrigin(problem(problems.notFound))),
  full(
    "error",
    "the handler fails, and its failure is mapped",
    { path: `/users/${lockedId}` },
    409,
    crossOrigin(problem(problems.userLocked))
  ),
  { ...everything, name: "logged", is: "the same as full, and an access log", variant: "logged" },
  auth("bearer", "the same as full, and a token that is good", token(), 200, {
    headers: { "content-type": "application/json", "cache-control": "private", vary: "Authorization,Origin" },
    body: one.body
  }),
  auth("401", "a token that somebody else has signed", badTokens.signature, 401, unauthenticated.invalid),
  auth("401-none", "no token", undefined, 401, unauthenticated.absent),
  { ...everything, name: "limited", is: "the same as full, and a limit in memory", variant: "limited" },
  { ...refused, variant: "refused" },
  { ...everything, name: "limited-redis", is: "the same as full, and a limit in Redis", variant: "redis-limited" },
  { ...refused, name: "429-redis", is: "a limit in Redis that is used up", variant: "redis-refused" },
  full("slow", "every middleware, a handler of a millisecond", { path: "/report" }, 200, crossOrigin(json(few))),
  {
    ...full("hit", "every middleware and a cache that has it", { path: "/report" }, 200, crossOrigin(json(few))),
    variant: "cached"
  },
  compressed("gzip-1k", "every middleware and gzip, 1 kB of JSON", "/few", json(few)),
  compressed("gzip-20k", "every middleware and gzip, 20 kB of JSON", "/users", json(users)),
  compressed("gzip-100k", "every middleware and gzip, 100 kB of JSON", "/many", json(many), 4),
  compressed(
    "gzip-10m",
    "every middleware and gzip, 10 MB as they come",
    "/export",
    content({ "content-type": exported.type }, `${exported.piece}`.repeat(exported.pieces)),
    400
  ),
  whole("whole", "the whole stack, 80 bytes of JSON", {}, 200, own(me("42", 1))),
  whole("whole-20k", "the whole stack, 20 kB of JSON with gzip", { path: "/me/team" }, 200, gzipped(own(team(1)))),
  withoutCredentials(
    whole("whole-preflight", "the question a browser asks before a request", preflight, 204, preflighted)
  ),
  whole(
    "whole-401",
    "a token that somebody else has signed",
    { headers: { authorization: `Bearer ${badTokens.signature}` } },
    401,
    counted(content(unauthenticated.invalid.headers, unauthenticated.invalid.body))
  ),
  {
    ...whole(
      "whole-429",
      "a limit in memory that is used up",
      {},
      429,
      crossOrigin(content(
        { ...problemHeaders, "retry-after": wanted.wait, ...standing("whole-refused") },
        problems.tooMany
      )),
      "whole-refused"
    ),
    // one is not looked at
    hasSession: false
  },
  whole(
    "session-write",
    "the whole stack, and a session in a signed cookie is changed",
    { method: "POST", path: "/me/visits", headers: { "content-length": "0" } },
    200,
    setting(own(me("42", 2)))
  ),
  whole(
    "whole-redis",
    "the whole stack, with limit and session in Redis",
    {},
    200,
    own(me("42", 1), "whole-redis"),
    "whole-redis"
  )
]

/** Names that stand for several cases. */
export const groups: { readonly [name: string]: ReadonlyArray<string> } = {
  acceptance: [
    "bare",
    "whole",
    "whole-20k",
    "whole-preflight",
    "whole-401",
    "whole-429",
    "session-write",
    "whole-redis"
  ]
}

/** Begins a session, or counts one more in the one that it has. */
export const visiting: Case = cases.find(({ name }) => name === "session-write")!

/** With the cookie of a session, and those that others have set. */
export const withCookie = <A extends Pick<Case, "headers">>(asked: A, cookie: string | undefined): A => ({
  ...asked,
  headers: { ...asked.headers, cookie: Sessions.headersWith(cookie)["cookie"]! }
})

/** The request as it goes over the wire. */
export const bytesOf = ({ headers, method, path }: Pick<Case, "headers" | "method" | "path">): string =>
  `${method} ${path} HTTP/1.1\r\n${
    Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("")
  }\r\n`
