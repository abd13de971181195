/** That a server does the work, and begins the sessions that the load then uses. */
import * as assert from "node:assert/strict"
import { ask } from "../servers/check.js"
import type { Reply } from "../servers/work.js"
import type { Name } from "./contestants.js"
import { counted, greeting, headersWith, health, nobody, type Variant, type Visitor, visitor } from "./work.js"

interface Answer extends Reply {
  /** As a browser sends it back; `cookie-session` has another one for the signature. */
  readonly cookie: string | undefined
  readonly attributes: ReadonlyArray<string>
}

export const send = async (port: number, method: string, path: string, cookie?: string): Promise<Answer> => {
  const reply = await ask(port, { method, path, headers: { ...headersWith(cookie), "content-length": "0" } })
  const set = new Array<string>().concat(reply.headers["set-cookie"] ?? []).map((field) => field.split("; "))
  const cookies = set.map(([pair]) => pair)
  return { ...reply, cookie: set.length === 0 ? undefined : cookies.join("; "), attributes: set[0]?.slice(1) ?? [] }
}

/** The cookie of a new session. */
export const login = async (port: number): Promise<string> => {
  const { cookie } = await send(port, "POST", "/login")
  assert.ok(cookie !== undefined)
  return cookie
}

const attributes: ReadonlyArray<readonly [what: string, form: RegExp]> = [
  ["no script can read it", /^httponly$/i],
  ["it is Secure", /^secure$/i],
  ["it is not sent by other sites", /^samesite=lax$/i],
  ["it is for all paths", /^path=\/$/i],
  ["it stays for a fortnight or so", /^(?:max-age=12\d{5}|expires=.*)$/i]
]

export const check = async (name: Name, variant: Variant, port: number): Promise<void> => {
  const expect = (what: string, { body, headers, status }: Answer, visitor: Visitor) => {
    assert.equal(status, 200, `${name}: ${what}`)
    assert.match(headers["content-type"] ?? "", /^application\/json/, `${name}: ${what}`)
    assert.deepEqual(JSON.parse(body), greeting(visitor), `${name}: ${what}`)
  }
  const silent = (what: string, { cookie }: Answer) =>
    assert.equal(cookie, undefined, `${name}: ${what}, and it sets a cookie`)

  const stranger = await send(port, "GET", "/visits")
  expect("without a session", stranger, nobody)
  silent("a new session in which nothing is", stranger)

  const begun = await send(port, "POST", "/login")
  expect("login", begun, visitor)
  assert.ok(begun.cookie !== undefined, `${name}: login sets a cookie`)
  for (const [what, form] of attributes) assert.ok(begun.attributes.some((one) => form.test(one)), `${name}: ${what}`)

  const read = await send(port, "GET", "/visits", begun.cookie)
  expect("what was begun", read, visitor)
  silent("a session is read", read)

  const written = await send(port, "POST", "/visits", begun.cookie)
  expect("counted", written, counted(visitor))
  const inCookie = variant === "signed" || variant === "encrypted"
  if (inCookie) assert.ok(written.cookie !== undefined, `${name}: what is written goes with the response`)
  const kept = written.cookie ?? begun.cookie
  expect("what was written", await send(port, "GET", "/visits", kept), counted(visitor))
  expect("counted twice", await send(port, "POST", "/visits", kept), counted(counted(visitor)))

  // a letter in the middle of it
  const at = Math.floor((begun.cookie.indexOf("=") + begun.cookie.length) / 2)
  const forged = begun.cookie.slice(0, at) + (begun.cookie[at] === "A" ? "B" : "A") + begun.cookie.slice(at + 1)
  expect("forged", await send(port, "GET", "/visits", forged), nobody)
  const readable = begun.cookie.split(/[=.; ]/).some((part) => Buffer.from(part, "base64").includes(visitor.name))
  if (variant !== "any") assert.equal(readable, variant === "signed", `${name}: whether a browser can read it`)

  const untouched = await send(port, "GET", "/health", begun.cookie)
  assert.equal(untouched.status, 200, `${name}: health`)
  assert.deepEqual(JSON.parse(untouched.body), health, `${name}: health`)
  silent("a session is not asked for", untouched)
}
