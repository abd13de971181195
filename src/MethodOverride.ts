/**
 * Takes a `POST` for the method that it says it is: for forms, which know `GET` and `POST` alone, and for clients whose
 * proxies let nothing else through.
 *
 * Rules, in this order:
 *
 * 1. What is no `POST` passes as it is, whatever it says. So nothing that is safe ever becomes unsafe, and no link or image
 *    does what only a form may (RFC 9110 9.2.1).
 * 2. The field of the header says the method; where there is none, and `form` is asked for, a field of a form does
 *    (`application/x-www-form-urlencoded`).
 * 3. A method of `methods` is the request's from here on: for the router, `Csrf`, `Cors` and the log alike. `POST`, or
 *    nothing, leaves it as it is.
 * 4. All else is refused.
 *
 * @since 0.1.0
 */
import * as Headers from "@effect/platform/Headers"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { mediaTypeOf } from "./internal/content.js"
import { isToken } from "./internal/fields.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"

/**
 * What a `POST` may become: methods that are unsafe, as it is itself.
 *
 * @since 0.1.0
 * @category models
 */
export type Method = Extract<HttpMethod, "PUT" | "PATCH" | "DELETE">

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /** What a `POST` may become. Default: `PUT`, `PATCH` and `DELETE`. */
  readonly methods?: ReadonlyArray<Method> | undefined
  /** The field that says it, or `false` for none. A page of another origin has to ask before it sends one (CORS). Default: `"x-http-method-override"`. */
  readonly header?: string | false | undefined
  /**
   * The field of a form that says it, or `false` for none. Any page can send such a form: `Csrf` stands inside. The content is
   * read here, once, and the handler has it still; `BodyLimit` outside says how much. Default: `false`.
   */
  readonly form?: string | false | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export type Decision =
  | { readonly _tag: "Keep" }
  | { readonly _tag: "Override"; readonly method: Method }
  /** It is no method that a `POST` may become. */
  | { readonly _tag: "Reject" }

/**
 * Compiles the list, once, to a pure function of what a `POST` says that it is. Case does not matter. Throws on a method that
 * no `POST` may become.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { MethodOverride } from "effect-middleware"
 *
 * const decide = MethodOverride.policy({ methods: ["DELETE"] })
 *
 * assert.deepEqual(decide("delete"), { _tag: "Override", method: "DELETE" })
 * assert.deepEqual(decide("GET"), { _tag: "Reject" })
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = ({ methods = all }: Pick<Options, "methods"> = {}): (said: string | undefined) => Decision => {
  if (methods.length === 0) throw new TypeError("MethodOverride: methods is empty: list some of PUT, PATCH and DELETE")
  const decisions = new Map<string, Decision>([["", keep], ["POST", keep]])
  for (const method of methods) {
    if (!all.includes(method)) {
      throw new TypeError(
        `MethodOverride: methods has ${
          JSON.stringify(method)
        }: a POST becomes PUT, PATCH or DELETE, and nothing that is safe`
      )
    }
    decisions.set(method, { _tag: "Override", method })
  }
  return (said = "") => said.length > longest ? reject : decisions.get(said.trim().toUpperCase()) ?? reject
}

const all: ReadonlyArray<Method> = ["PUT", "PATCH", "DELETE"]
const longest = 16
const keep: Decision = { _tag: "Keep" }
const reject: Decision = { _tag: "Reject" }

/**
 * A `POST` says that it is what it cannot become. What it said is in no response and no log line.
 *
 * @since 0.1.0
 * @category errors
 */
export class MethodOverrideInvalid
  extends Schema.TaggedError<MethodOverrideInvalid>("effect-middleware/MethodOverride/MethodOverrideInvalid")(
    "MethodOverrideInvalid",
    {},
    HttpApiSchema.annotations({ status: 400 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return "The request says that it has a method which it cannot have"
  }
  [HttpServerRespondable.symbol]() {
    return refusal
  }
}

const refusal = ProblemDetails.toResponse({ status: 400, detail: "The method cannot be overridden by that" })
const refuse = Middleware.Refuse(new MethodOverrideInvalid())

/**
 * Refuses with `MethodOverrideInvalid` (400). Stands around the router, and outside of all that goes by the method: `Cors`,
 * `Csrf`, limits.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Csrf, Forwarded, MethodOverride, Stack } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.del("/posts/:id", HttpServerResponse.empty()),
 *   Stack.make(
 *     Forwarded.middleware({ trust: "none" }),
 *     // <form method="post" action="/posts/1"><input type="hidden" name="_method" value="delete">
 *     MethodOverride.middleware({ methods: ["DELETE"], form: "_method" }),
 *     Csrf.middleware()
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "MethodOverride">(
  options: Options<Name> = {}
): Middleware.Middleware<never, MethodOverrideInvalid, never, never, Name, Middleware.Phases> => {
  const decide = policy(options)
  const { form = false, header = "x-http-method-override" } = options
  if (header !== false && !isToken(header)) {
    throw new TypeError(
      `MethodOverride: header is ${
        JSON.stringify(header)
      }: write the name of a field ("x-http-method-override"), or false`
    )
  }
  if (form === "") {
    throw new TypeError("MethodOverride: form is empty: write the name of a form's field (\"_method\"), or false")
  }
  if (header === false && form === false) {
    throw new TypeError("MethodOverride: header and form are both false: one of them says the method")
  }
  const field = header === false ? undefined : header.toLowerCase()
  const take = (exchange: Middleware.Exchange, said: string | undefined) => {
    const decision = decide(said)
    if (decision._tag === "Reject") return refuse
    if (decision._tag === "Keep") return Middleware.Pass
    const { headers } = exchange.request
    exchange.deriveRequest({
      method: decision.method,
      // said once: nobody further in is to take it for something else
      headers: field === undefined ? headers : Headers.remove(headers, field)
    })
    return Middleware.Pass
  }
  return Middleware.make({
    name: options.name ?? "MethodOverride" as Name,
    traits: ["method"],
    request: (exchange) => {
      const { headers, method } = exchange.request
      if (method !== "POST") return Middleware.Pass
      const said = field === undefined ? undefined : headers[field]
      if (said !== undefined) return take(exchange, said)
      const isForm = mediaTypeOf(headers["content-type"] ?? "") === "application/x-www-form-urlencoded"
      return form !== false && isForm ? Middleware.Defer : Middleware.Pass
    },
    ...(form === false ? {} : {
      requestEffect: (exchange: Middleware.Exchange) =>
        Effect.map(
          // what is wrong with the content is said by who reads it for what it is
          Effect.option(exchange.request.urlParamsBody),
          (params) => take(exchange, Option.getOrUndefined(Option.flatMap(params, UrlParams.getFirst(form))))
        )
    })
  })
}
