/**
 * The response on its way out, open for edits: what a `response` phase receives.
 *
 * One draft serves every middleware of a stack, so ten edits cost ten writes to
 * one record and not ten copies of an immutable response.
 *
 * @since 0.1.0
 */
import * as Cookies from "@effect/platform/Cookies"
import type * as Headers from "@effect/platform/Headers"
import * as HttpBody from "@effect/platform/HttpBody"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Fields from "./internal/fields.js"

/**
 * A mutable view of one response.
 *
 * - Header names are case-insensitive (RFC 9110 section 5.1).
 * - Reading never copies; the first write copies once.
 * - Fields that are lists by definition (`Vary`, `Cache-Control`,
 *   `WWW-Authenticate`, `Server-Timing`) have a method that merges; use it, and
 *   what the handler or another middleware said survives.
 * - A cookie is known by name, domain and path (RFC 6265 section 5.3): two of
 *   one name on different paths both leave.
 *
 * @example
 * ```ts
 * import { Middleware } from "effect-middleware"
 *
 * const noSniff = Middleware.make({
 *   name: "NoSniff",
 *   response: (draft) => {
 *     draft.set("x-content-type-options", "nosniff")
 *     draft.vary("accept")
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface ResponseDraft {
  /** The status code (RFC 9110 section 15). Throws on one that cannot be sent: use 200 to 599. */
  status: number
  /** The body as it stands; `setBody` replaces it. */
  readonly body: HttpBody.HttpBody
  /** The cookies as they stand. */
  readonly cookies: Cookies.Cookies
  /** The header fields as they stand, names in lower case. */
  readonly headers: Headers.Headers
  /** What `refuse` was last given, if it was called. */
  readonly refusal: unknown
  /** The value of a field, or `undefined`. */
  get(name: string): string | undefined
  has(name: string): boolean
  /** Sets a field, replacing what is there. Throws on a name or value that cannot be sent. */
  set(name: string, value: string): void
  /** Sets a field that the handler has not set. */
  setIfAbsent(name: string, value: string): void
  /**
   * The same for many fields, in one go. Names are in lower case; a record is looked at the first time it is given, and is
   * not to change from then on.
   */
  setDefaults(fields: { readonly [name: string]: string }): void
  /** Adds to a field that is a comma-separated list (RFC 9110 section 5.3). */
  append(name: string, value: string): void
  delete(name: string): void
  /** Adds to `Vary`; `*` absorbs the rest. */
  vary(...fields: ReadonlyArray<string>): void
  /** Adds directives to `Cache-Control`; where two disagree the stricter stays. */
  cacheControl(directives: string): void
  /** Adds a challenge to the one `WWW-Authenticate` field (RFC 9110 section 11.6.1). */
  challenge(challenge: string): void
  /** Adds a metric to `Server-Timing`. */
  serverTiming(metric: string): void
  /**
   * Sets a cookie. Throws a `CookiesError` on a name, value or attribute that
   * could not be sent as written.
   */
  setCookie(name: string, value: string, options?: Cookies.Cookie["options"]): void
  /** Replaces all cookies, and a `Set-Cookie` field that was set as text: for a middleware that judges each of them. */
  replaceCookies(cookies: Cookies.Cookies): void
  /**
   * Replaces the body; `Content-Type` and `Content-Length` follow it, and a
   * length that no longer holds is removed.
   */
  setBody(body: HttpBody.HttpBody): void
  /** Replaces the whole response; later edits apply to the new one. */
  replace(response: HttpServerResponse.HttpServerResponse): void
  /**
   * Replaces the whole response by the one `error` stands for
   * (`HttpServerRespondable`, else 500): for a middleware that learns only on the
   * way out that the request cannot be answered as the handler meant, such as a
   * session that could not be saved.
   */
  refuse(error: object): void
  /**
   * Runs `f` once, when the response is done, however it looks by then: in Node's server when the last byte is handed to
   * the system or the connection is lost; elsewhere, where nobody can tell, when the response is handed over. After an
   * upgrade it runs when the app has ended.
   */
  onSent(f: (sent: Sent) => void): void
}

/**
 * How a response fared.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sent {
  /** The status that was sent, 101 for an upgrade; 499 for a client that did not wait for one. */
  readonly status: number
  /** The size of the content as sent, without header and framing; `undefined` where nobody knows it. */
  readonly bytes: number | undefined
  /** Whether the connection was lost, or the body failed, before all of it was sent. */
  readonly aborted: boolean
  /** Whether it was the body that failed. */
  readonly failed: boolean
}

/**
 * A draft with its two ends: what a `response` phase is given, and what becomes
 * of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Open extends ResponseDraft {
  /** Before any edit, and before any replacement. */
  readonly first: HttpServerResponse.HttpServerResponse
  /** The response as edited; the one it began with where nothing was. */
  toResponse(): HttpServerResponse.HttpServerResponse
  /**
   * Replaces the response and keeps the fields and cookies that edits have set, but for those that describe the old
   * content or let it be stored: what is left when an edit has failed.
   */
  fallBack(response: HttpServerResponse.HttpServerResponse): void
  /** What no server could send of it, as the handler has made it: a status, a name, a value. */
  mistake(): string | undefined
  /** What `refuse` was given and has not been rendered yet. */
  takeRefusal(): object | undefined
  /** What `onSent` was given. */
  readonly listeners: ReadonlyArray<(sent: Sent) => void>
}

/**
 * Opens a response, as a stack does: for the tests of a `response` phase of one's
 * own.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { HttpServerResponse } from "@effect/platform"
 * import { ResponseDraft } from "effect-middleware"
 *
 * const draft = ResponseDraft.open(HttpServerResponse.text("hello", { headers: { vary: "accept" } }))
 * draft.vary("origin", "Accept")
 *
 * assert.equal(draft.toResponse().headers.vary, "accept, origin")
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (
  response: HttpServerResponse.HttpServerResponse,
  /** What it was before the edits of another draft. */
  first: HttpServerResponse.HttpServerResponse = response
): Open => new Draft(response, first)

class Draft implements Open {
  private ownStatus: number
  private current: HttpServerResponse.HttpServerResponse
  private ownHeaders: Record<string, string> | undefined
  private ownCookies: Record<string, Cookies.Cookie> | undefined
  private ownBody: HttpBody.HttpBody | undefined
  private refused: object | undefined
  private unrendered: object | undefined
  private ownListeners: Array<(sent: Sent) => void> | undefined

  constructor(
    response: HttpServerResponse.HttpServerResponse,
    readonly first: HttpServerResponse.HttpServerResponse
  ) {
    this.current = response
    this.ownStatus = response.status
  }

  get status() {
    return this.ownStatus
  }
  set status(status: number) {
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new RangeError(`ResponseDraft: status ${status} cannot be sent; use 200 to 599`)
    }
    this.ownStatus = status
  }
  get body() {
    return this.ownBody ?? this.current.body
  }
  get cookies() {
    return this.ownCookies === undefined ? this.current.cookies : Cookies.fromReadonlyRecord(this.ownCookies)
  }
  get headers(): Headers.Headers {
    return this.ownHeaders as Headers.Headers | undefined ?? this.current.headers
  }
  get refusal() {
    return this.refused
  }
  get listeners() {
    return this.ownListeners ?? none
  }
  get(name: string) {
    return this.headers[name.toLowerCase()]
  }
  has(name: string) {
    return this.get(name) !== undefined
  }
  set(name: string, value: string) {
    const key = fieldName(name)
    if (unsendable.test(value)) throw new TypeError(`ResponseDraft: the value for ${key} cannot be sent in a field`)
    this.write()[key] = value
  }
  setIfAbsent(name: string, value: string) {
    if (!this.has(name)) this.set(name, value)
  }
  setDefaults(fields: { readonly [name: string]: string }) {
    const { headers } = this
    // what is there is written over them: one copy, whatever their number
    this.ownHeaders = Object.assign(Object.create(Object.getPrototypeOf(headers)), checked(fields), headers)
  }
  append(name: string, value: string) {
    const before = this.get(name)
    this.set(name, before === undefined || before === "" ? value : `${before}, ${value}`)
  }
  delete(name: string) {
    if (this.has(name)) delete this.write()[name.toLowerCase()]
  }
  vary(...fields: ReadonlyArray<string>) {
    this.put("vary", Fields.mergeVary(this.get("vary"), ...fields))
  }
  cacheControl(directives: string) {
    this.put("cache-control", Fields.mergeCacheControl(this.get("cache-control"), directives))
  }
  challenge(challenge: string) {
    this.put("www-authenticate", Fields.mergeChallenges(this.get("www-authenticate"), challenge))
  }
  serverTiming(metric: string) {
    this.put("server-timing", Fields.mergeServerTiming(this.get("server-timing"), metric))
  }
  setCookie(name: string, value: string, options?: Cookies.Cookie["options"]) {
    const cookie = Cookies.unsafeMakeCookie(name, value, options)
    // copied once, and then written: a thousand cookies are not a thousand copies
    const cookies = this.ownCookies ??= { ...this.current.cookies.cookies }
    // platform keys by name alone; whatever sits under the name and is another cookie keeps its place
    const taken = Object.hasOwn(cookies, name) ? cookies[name] : undefined
    const key = taken === undefined || identity(taken) === identity(cookie) ? name : identity(cookie)
    cookies[key] = cookie
  }
  replaceCookies(cookies: Cookies.Cookies) {
    this.ownCookies = { ...cookies.cookies }
    this.delete("set-cookie")
  }
  setBody(body: HttpBody.HttpBody) {
    this.ownBody = body
    const headers = this.write()
    if (body.contentType !== undefined) headers["content-type"] = body.contentType
    if (body.contentLength !== undefined) headers["content-length"] = String(body.contentLength)
    else delete headers["content-length"]
  }
  replace(response: HttpServerResponse.HttpServerResponse) {
    this.current = response
    this.ownStatus = response.status
    this.ownHeaders = this.ownCookies = this.ownBody = undefined
  }
  fallBack(response: HttpServerResponse.HttpServerResponse) {
    const { first, headers } = this
    const cookies = Object.entries(this.cookies.cookies).filter(([key, cookie]) =>
      first.cookies.cookies[key] !== cookie
    )
    this.replace(response)
    for (const name in headers) {
      const isEdit = headers[name] !== first.headers[name] && !representation.test(name)
      if (isEdit && response.headers[name] === undefined) this.write()[name] = headers[name]!
    }
    if (cookies.length > 0) this.ownCookies = Object.fromEntries(cookies)
  }
  refuse(error: object) {
    this.refused = this.unrendered = error
  }
  onSent(f: (sent: Sent) => void) {
    ;(this.ownListeners ??= []).push(f)
  }

  takeRefusal() {
    const error = this.unrendered
    this.unrendered = undefined
    return error
  }

  mistake() {
    const { headers, status } = this
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      return `the response has status ${status}, which cannot be sent; use 200 to 599`
    }
    // what edits have set was looked at as they did, but for what has come with a body
    const type = this.ownBody?.contentType
    const given = type === undefined ? this.current.headers : { ...this.current.headers, "content-type": type }
    for (const name in given) {
      const value = headers[name]
      if (value === undefined) continue
      if (names.has(name) ? unsendable.test(value) : !isField(name, value)) {
        return `the response has a field ${JSON.stringify(name)} that cannot be sent, by its name or its value`
      }
    }
    return undefined
  }

  toResponse(): HttpServerResponse.HttpServerResponse {
    const from = this.current
    // such a response has no content (RFC 9110 section 6.4.1), and the Fetch standard's Response throws if given some
    if (this.body._tag !== "Empty" && contentless.has(this.status)) this.setBody(HttpBody.empty)
    if (
      this.ownHeaders === undefined && this.ownCookies === undefined && this.ownBody === undefined &&
      this.status === from.status
    ) return from
    // A clone, not platform's constructor: that one would spread the headers again and put back the body's.
    return Object.assign(Object.create(Object.getPrototypeOf(from)), from, {
      status: this.status,
      statusText: this.status === from.status ? from.statusText : undefined,
      headers: this.headers,
      cookies: this.cookies,
      body: this.body
    })
  }

  private put(name: string, value: string) {
    if (value !== "") this.set(name, value)
  }
  private write(): Record<string, string> {
    // `Object.assign` and not a spread: on Node 20 each new key after a spread costs a map migration
    return this.ownHeaders ??= Object.assign(
      Object.create(Object.getPrototypeOf(this.current.headers)),
      this.current.headers
    )
  }
}

const contentless = new Set([204, 205, 304])
const none: ReadonlyArray<never> = []

/** RFC 9110 section 8 and the fields of caching: true of the content that they came with. */
const representation = /^(?:content-.*|etag|last-modified|accept-ranges|cache-control|expires|age)$/

/** What neither server can send: control characters, and what is not one byte (RFC 9110 section 5.5). */
const unsendable = /[^\t\x20-\x7e\x80-\xff]/

const isField = (name: string, value: string) => Fields.isToken(name) && !unsendable.test(value)

/** Names are few and constant: each is checked once. */
const names = new Map<string, string>()
const fieldName = (name: string): string => {
  const known = names.get(name)
  if (known !== undefined) return known
  if (!Fields.isToken(name)) {
    throw new TypeError(`ResponseDraft: ${JSON.stringify(name)} is not a field name (RFC 9110 section 5.1)`)
  }
  const key = name.toLowerCase()
  if (names.size < 1000) names.set(name, key)
  return key
}

const sendable = new WeakSet<object>()
const checked = <F extends { readonly [name: string]: string }>(fields: F): F => {
  if (sendable.has(fields)) return fields
  for (const [name, value] of Object.entries(fields)) {
    if (name !== name.toLowerCase() || !isField(name, value)) {
      throw new TypeError(`ResponseDraft: ${JSON.stringify(name)} cannot be sent, by its name or its value`)
    }
  }
  sendable.add(fields)
  return fields
}

const identity = (cookie: Cookies.Cookie) => Fields.cookieKey(cookie.name, cookie.options?.domain, cookie.options?.path)
