/**
 * The application that every server is: what it is asked, and what has to come of it.
 *
 * Outermost first: who the client is (no proxy is trusted), the time it took, a request id, trusted hosts, CORS,
 * failures and unknown routes as problem details, and a router of two routes.
 */

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

/** 20 kB of JSON. */
export const users: ReadonlyArray<User> = Array.from({ length: 340 }, (_, i) => user(i + 1))

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
  userLocked: JSON.stringify({ type: "https://example.com/problems/user-locked", title: "User locked", status: 409 })
}

/** Without any middleware; with all of it; and with a line of JSON a request on standard output beside. */
export type Variant = "bare" | "full" | "logged"

export interface Case {
  readonly name: string
  readonly is: string
  readonly variant: Variant
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly expected: Reply
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

export const content = (headers: Readonly<Record<string, string>>, body: string) => ({
  headers: { ...headers, "content-length": `${Buffer.byteLength(body)}` },
  body
})

const json = (value: unknown) => content({ "content-type": "application/json" }, JSON.stringify(value))
const problem = (body: string) => content(problemHeaders, body)

/** In place of the identifier and the time, once they are seen to be such. */
export const wanted = { id: "<uuid>", time: "total;dur=<time>" }

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

const everything = full("full", "every middleware, 60 bytes of JSON", {}, 200, crossOrigin(one))

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
    {
      method: "OPTIONS",
      headers: { "access-control-request-method": "DELETE", "access-control-request-headers": "authorization" }
    },
    204,
    {
      headers: {
        ...allowed,
        "access-control-allow-methods": [...methods].sort().join(),
        "access-control-allow-headers": [...requestHeaders].sort().join(),
        "access-control-max-age": `${maxAge}`
      },
      body: ""
    }
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
  { ...everything, name: "logged", is: "the same as full, and an access log", variant: "logged" }
]

/** The request as it goes over the wire. */
export const bytesOf = ({ headers, method, path }: Pick<Case, "headers" | "method" | "path">): string =>
  `${method} ${path} HTTP/1.1\r\n${
    Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("")
  }\r\n`
