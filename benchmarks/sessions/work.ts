/**
 * The application that every server is: it greets a visitor by the name in the session, and counts visits there.
 *
 * - `POST /login` begins a session with `visitor` in it
 * - `GET /visits` says what the session holds
 * - `POST /visits` counts one more, and says the same
 * - `GET /health` has nothing to do with sessions
 *
 * All answer with JSON. The cookie is of one host, and Secure: it is behind a proxy that ends TLS, which is trusted.
 */

export interface Visitor {
  readonly name: string
  readonly visits: number
  readonly email: string
  readonly roles: ReadonlyArray<string>
  readonly locale: string
  readonly token: string
  readonly seen: ReadonlyArray<string>
}

/** 200 bytes of JSON. */
export const visitor: Visitor = {
  name: "Ada Lovelace",
  visits: 0,
  email: "ada@example.com",
  roles: ["reader", "editor"],
  locale: "en-GB",
  token: "qFz0bUuXc7mV1sKp3RjTgAd8LwNe5hYo2PiBx6Q",
  seen: ["/", "/notes", "/notes/42", "/account"]
}
export const nobody: Visitor = { name: "", visits: 0, email: "", roles: [], locale: "", token: "", seen: [] }

export const counted = (visitor: Visitor): Visitor => ({ ...visitor, visits: visitor.visits + 1 })
export const greeting = ({ name, visits }: Visitor) => ({ name, visits })
export const health = { ok: true }

export const cookieName = "session"
/** Two weeks. */
export const seconds = 1_209_600
export const secret = "b1Zq7mJt0xWcR4uYp9LsEaKf2HgVd6Ni"

/** Where the session is: in a cookie that is signed or encrypted, or in Redis; of `any`, where the server has it best. */
export type Variant = "signed" | "encrypted" | "redis" | "any"

export interface Case {
  readonly name: string
  readonly is: string
  readonly variant: Variant
  readonly method: string
  readonly path: string
  readonly expected: { readonly status: number }
}

const read = { method: "GET", path: "/visits", expected: { status: 200 } }
const write = { method: "POST", path: "/visits", expected: { status: 200 } }

export const cases: ReadonlyArray<Case> = [
  { ...read, name: "signed", is: "a session is read from a signed cookie", variant: "signed" },
  { ...read, name: "encrypted", is: "a session is read from an encrypted cookie", variant: "encrypted" },
  { ...write, name: "encrypted-write", is: "one is read, changed, and goes back encrypted", variant: "encrypted" },
  { ...read, name: "redis", is: "a session is read from Redis", variant: "redis" },
  { ...write, name: "redis-write", is: "one is read from Redis, changed, and written", variant: "redis" },
  {
    name: "untouched",
    is: "a request with the cookie of a session, which is not asked for",
    variant: "any",
    method: "GET",
    path: "/health",
    expected: { status: 200 }
  }
]

/** What a browser sends beside the cookie of the session, and the proxy. */
export const headersWith = (cookie: string | undefined): Readonly<Record<string, string>> => ({
  host: "www.example.com",
  "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  accept: "application/json",
  "accept-language": "en-GB,en;q=0.8",
  "accept-encoding": "gzip, deflate, br",
  "x-forwarded-for": "192.0.2.1",
  "x-forwarded-proto": "https",
  cookie: ["theme=dark", "_ga=GA1.2.1234567890.1700000000", ...cookie === undefined ? [] : [cookie]].join("; ")
})
