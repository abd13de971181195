/**
 * Minimal attributes of every cookie that leaves, whoever has set it: Secure, HttpOnly and SameSite, and what browsers ask
 * of a cookie before they keep it (RFC 6265bis).
 *
 * For each cookie of each response that leaves through it, those in a `Set-Cookie` field that was set as text too:
 *
 * 1. It has Secure, HttpOnly and at least the `sameSite` asked for.
 * 2. A name with a prefix keeps its promise: `__Secure-` and `__Http-` are Secure, `__Http-` and `__Host-Http-` are
 *    HttpOnly, and `__Host-` is Secure, of path `/` and without Domain (section 4.1.3).
 * 3. SameSite=None and Partitioned have Secure, or a browser refuses the cookie.
 * 4. It lives for at most 400 days (section 5.5).
 *
 * What can be mended is mended. What cannot, such as a `__Host-` cookie with a Domain, or one whose name is no token, does
 * not leave, and the log is told once for each name.
 *
 * @since 0.1.0
 */
import * as Platform from "@effect/platform/Cookies"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Duration from "effect/Duration"
import * as LogLevel from "effect/LogLevel"
import * as Schema from "effect/Schema"
import { isLoopbackHost, parseAuthority } from "./internal/authority.js"
import { isToken } from "./internal/fields.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"

/**
 * @since 0.1.0
 * @category models
 */
export type SameSite = "lax" | "none" | "strict"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /** Whether each is Secure. Default: `true`. What a browser would refuse without has it in any case. */
  readonly secure?: boolean | undefined
  /**
   * For development: a request for a loopback host (`localhost`, `*.localhost`, 127.0.0.0/8, `[::1]`) is answered as with
   * `secure: false`, since not every browser keeps a Secure cookie from `http://localhost`. Default: `false`.
   */
  readonly localhost?: boolean | undefined
  /** Whether each is HttpOnly, but for those that scripts read. Default: `true`. */
  readonly httpOnly?: boolean | { readonly except: ReadonlyArray<string> } | undefined
  /**
   * The least that each has, `"none"` for no opinion; those in `except`, that pages of other sites need, stay as they are.
   * Default: `"lax"`.
   */
  readonly sameSite?: SameSite | { readonly atLeast: SameSite; readonly except: ReadonlyArray<string> } | undefined
  /** Whether those with SameSite=None are Partitioned: a jar for each site that embeds this one (CHIPS). Default: `false`. */
  readonly partitioned?: boolean | undefined
  /**
   * Of a cookie that does not keep to the rules: `"upgrade"` mends it, `"drop"` has it stay here, `"refuse"` replaces the
   * response by `InsecureCookie`, 500: for tests, where a mistake is to be seen. Default: `"upgrade"`.
   */
  readonly onViolation?: "drop" | "refuse" | "upgrade" | undefined
  readonly name?: Name | undefined
}

/**
 * The response had a cookie that does not keep to the rules: a mistake of the program. The log says which.
 *
 * @since 0.1.0
 * @category errors
 */
export class InsecureCookie extends Schema.TaggedError<InsecureCookie>("effect-middleware/Cookies/InsecureCookie")(
  "InsecureCookie",
  {},
  HttpApiSchema.annotations({ status: 500 })
) implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol]() {
    return ProblemDetails.toResponse({ status: 500 })
  }
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  /** Milliseconds since 1970, for what is said by a date. */
  readonly now: number
  /** The `Host` of the request. */
  readonly host: string | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Verdict {
  /** The attributes to leave with; `undefined` where it cannot leave. */
  readonly options: NonNullable<Platform.Cookie["options"]> | undefined
  /** What was against the rules. */
  readonly violations: ReadonlyArray<string>
}

/**
 * Compiles the rules, once, to a pure function that judges a cookie. Throws on options that contradict each other, and on
 * exceptions that are no names.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Cookies } from "effect-middleware"
 *
 * const judge = Cookies.policy({ httpOnly: { except: ["theme"] } })
 * const { options } = judge({ name: "theme" }, { now: 0, host: "example.com" })
 *
 * assert.deepEqual(options, { secure: true, sameSite: "lax" })
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (
  options: Options = {}
): (cookie: Pick<Platform.Cookie, "name" | "options">, facts: Facts) => Verdict => {
  const { httpOnly = true, localhost = false, partitioned = false, sameSite = "lax", secure = true } = options
  const readable = namesOf("httpOnly", typeof httpOnly === "object" ? httpOnly.except : [])
  const atLeast = typeof sameSite === "object" ? sameSite.atLeast : sameSite
  const crossSite = namesOf("sameSite", typeof sameSite === "object" ? sameSite.except : [])
  if (!Object.hasOwn(strength, atLeast)) {
    fail(`sameSite is ${JSON.stringify(atLeast)}: write "lax", "strict" or "none"`)
  }
  if (partitioned && atLeast !== "none" && crossSite.size === 0) {
    fail("partitioned is for cookies with SameSite=None, and none may have it: name them in sameSite.except")
  }
  return ({ name, options: given = {} }, { host, now }) => {
    if (!isToken(name)) return { options: undefined, violations: ["its name is no token (RFC 6265 section 4.1.1)"] }
    const violations: Array<string> = []
    const mended = { ...given }
    const own = /^__(?:host|secure|http)-/i.exec(name)?.[0].toLowerCase()
    if (own === "__host-") {
      if (given.domain !== undefined) return { options: undefined, violations: ["\"__Host-\" has no Domain"] }
      if (given.path === undefined) {
        mended.path = "/"
        violations.push("\"__Host-\" needs Path=/")
      } else if (given.path !== "/") return { options: undefined, violations: ["\"__Host-\" is of Path=/"] }
    }
    if (given.httpOnly !== true && (/^__(?:host-)?http-/i.test(name) || (httpOnly !== false && !readable.has(name)))) {
      mended.httpOnly = true
      violations.push("it needs HttpOnly")
    }
    const isWeak = given.sameSite === undefined ? atLeast !== "none" : strength[given.sameSite] < strength[atLeast]
    if (isWeak && !crossSite.has(name)) {
      mended.sameSite = atLeast
      violations.push(`it needs SameSite=${atLeast}`)
    }
    if (partitioned && mended.sameSite === "none" && given.partitioned !== true) {
      mended.partitioned = true
      violations.push("it needs Partitioned")
    }
    const isAsked = secure && !(localhost && isLoopbackHost(parseAuthority(host ?? "")))
    const isNeeded = own !== undefined || mended.sameSite === "none" || mended.partitioned === true
    if (given.secure !== true && (isAsked || isNeeded)) {
      mended.secure = true
      violations.push("it needs Secure")
    }
    if (given.maxAge !== undefined && Duration.greaterThan(Duration.decode(given.maxAge), longest)) {
      mended.maxAge = longest
      violations.push("its Max-Age is beyond 400 days")
    }
    const latest = now + Duration.toMillis(longest)
    if (given.expires !== undefined && given.expires.getTime() > latest) {
      mended.expires = new Date(latest)
      violations.push("its Expires is beyond 400 days")
    }
    return { options: mended, violations }
  }
}

/**
 * Judges every cookie that leaves. Stands outside whatever sets one.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Cookies } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello").pipe(HttpServerResponse.unsafeSetCookie("theme", "dark"))),
 *   Cookies.middleware({ httpOnly: { except: ["theme"] } })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "Cookies">(
  options: Options<Name> = {}
): Middleware.Middleware<never, never, never, never, Name, Middleware.Phases> => {
  const judge = policy(options)
  const { onViolation = "upgrade" } = options
  if (!["drop", "refuse", "upgrade"].includes(onViolation)) {
    fail(`onViolation is ${JSON.stringify(onViolation)}: write "upgrade", "drop" or "refuse"`)
  }
  const told = new Set<string>()
  return Middleware.make({
    name: options.name ?? "Cookies" as Name,
    response: (draft, exchange) => {
      const text = draft.get("set-cookie")
      const cookies = Object.entries(draft.cookies.cookies)
      if (text === undefined && cookies.length === 0) return
      const facts = { now: exchange.clock.unsafeCurrentTimeMillis(), host: exchange.request.headers.host }
      // a field is one cookie (RFC 6265 section 3), and leaves as what is read of it
      const [read] = text === undefined ? [] : Object.values(Platform.fromSetCookie(text).cookies)
      // no cookie's name has a line feed, so it takes nobody's place
      if (read !== undefined) cookies.push([`\n${read.name}`, read])
      let isChanged = text !== undefined
      let isRefused = false
      const tell = (name: string, reason: string) => {
        if (told.has(name) || told.size === mostTold) return
        told.add(name)
        exchange.log(LogLevel.Warning, `Cookies: ${JSON.stringify(name)} does not leave: ${reason}`)
      }
      if (text !== undefined && read === undefined) {
        tell("", "a Set-Cookie field is no cookie")
        isRefused = onViolation === "refuse"
      }
      const kept: Record<string, Platform.Cookie> = {}
      for (const [key, cookie] of cookies) {
        const { options, violations } = judge(cookie, facts)
        if (violations.length === 0) kept[key] = cookie
        else {
          isChanged = true
          if (options !== undefined && onViolation === "upgrade") {
            // a clone, since the constructor would encode the value again
            kept[key] = Object.assign(Object.create(Object.getPrototypeOf(cookie)), cookie, { options })
          } else {
            tell(cookie.name, violations.join(", "))
            isRefused ||= onViolation === "refuse"
          }
        }
      }
      if (isChanged) draft.replaceCookies(Platform.fromReadonlyRecord(kept))
      if (isRefused) draft.refuse(new InsecureCookie())
    }
  })
}

const longest = Duration.days(400)
const strength: { readonly [K in SameSite]: number } = { none: 0, lax: 1, strict: 2 }
/** A program may make up names without end. */
const mostTold = 100

const fail = (message: string): never => {
  throw new TypeError(`Cookies: ${message}`)
}

const namesOf = (option: string, names: ReadonlyArray<string>): ReadonlySet<string> => {
  for (const name of names) {
    if (!isToken(name)) {
      fail(`${option}.except: ${JSON.stringify(name)} is no name of a cookie: write it with its prefix`)
    }
  }
  return new Set(names)
}
