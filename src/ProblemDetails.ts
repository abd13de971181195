/**
 * The body of every refusal: problem details for HTTP APIs (RFC 9457), in the form that the client asks for.
 *
 * @since 0.1.0
 */
import * as Headers from "@effect/platform/Headers"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type Wanted, wants } from "./internal/accept.js"
import { phrases } from "./internal/phrases.js"
import * as Middleware from "./Middleware.js"
import { RequestId } from "./RequestId.js"
import type { ResponseDraft } from "./ResponseDraft.js"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A problem as RFC 9457 section 3 defines its members.
 *
 * @since 0.1.0
 * @category models
 */
export interface Problem {
  /** The status code, 400 to 599. */
  readonly status: number
  /** A URI that names the kind of problem. Default: `about:blank`, the status says it all. */
  readonly type?: string | undefined
  /** What kind of problem this is, the same each time. Default: the phrase of the status. */
  readonly title?: string | undefined
  /** What went wrong this time. Never put there what the client sent. */
  readonly detail?: string | undefined
  /** A URI that names this occurrence. */
  readonly instance?: string | undefined
  /** Further members (section 3.2); the five above are not to be found among them. */
  readonly extensions?: { readonly [name: string]: unknown } | undefined
}

/**
 * A problem as a client receives it: what is there is of its type, what is not is not there (RFC 9457 section 3.1).
 *
 * @since 0.1.0
 * @category models
 */
export interface Received {
  /** `about:blank` where the problem names none. */
  readonly type: string
  /** What the body says; the status of the response is what counts. */
  readonly status?: number
  readonly title?: string
  readonly detail?: string
  readonly instance?: string
  readonly extensions: { readonly [name: string]: unknown }
}

/**
 * A problem in JSON.
 *
 * @since 0.1.0
 * @category models
 */
export interface Json {
  readonly [name: string]: unknown
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The response that states a problem.
 *
 * - `Content-Type: application/problem+json`, `Cache-Control: no-store`.
 * - A problem of type `about:blank` has the status phrase for a title (section 4.2.1).
 * - Throws on a status that is not an error and on an extension that would
 *   overwrite a member: mistakes of the program.
 *
 * The value is immutable: a refusal that never varies builds it once. `middleware` gives it the form that the client
 * asks for.
 *
 * @example
 * ```ts
 * import { ProblemDetails } from "effect-middleware"
 *
 * const soldOut = ProblemDetails.toResponse({
 *   status: 409,
 *   type: "https://example.com/problems/sold-out",
 *   title: "Sold out",
 *   extensions: { restockedInDays: 3 }
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const toResponse = (
  problem: Problem,
  options?: { readonly headers?: Headers.Input | undefined }
): HttpServerResponse.HttpServerResponse => fromJson(problem.status, toJson(problem), options?.headers)

/**
 * The response of a problem that is JSON already.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromJson = (
  status: number,
  json: Json,
  headers?: Headers.Input | undefined
): HttpServerResponse.HttpServerResponse => {
  const text = JSON.stringify(json)
  const response = HttpServerResponse.text(text, { status, contentType: mediaType })
  // into its own record, which nobody has seen: to copy those it is given costs platform more than all the rest
  Object.assign(response.headers, unstored, Headers.fromInput(headers), { ...response.headers })
  stated.set(response.body, { json, text })
  return response
}

const unstored = { "cache-control": "no-store" }

/**
 * The JSON of a problem. Throws as `toResponse` does.
 *
 * @since 0.1.0
 * @category constructors
 */
export const toJson = (problem: Problem): Json => {
  const { detail, extensions, instance, status, type } = problem
  if (!Number.isInteger(status) || status < 400 || status > 599) {
    throw new TypeError(`ProblemDetails: status ${status} is not an error; use 400 to 599`)
  }
  for (const name of members) {
    if (extensions !== undefined && name in extensions) {
      throw new TypeError(`ProblemDetails: "${name}" is a member of every problem; set it beside \`extensions\``)
    }
  }
  // what is undefined does not show in JSON
  return { type, title: problem.title ?? titleOf(status), status, detail, instance, ...extensions }
}

/**
 * The media type of a problem in JSON.
 *
 * @since 0.1.0
 * @category constructors
 */
export const mediaType = "application/problem+json"

const members = ["type", "title", "status", "detail", "instance"] as const

const titleOf = (status: number): string => phrases[status] ?? (status < 500 ? "Client Error" : "Server Error")

// ---------------------------------------------------------------------------------------------------------------------
// schemas
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Reads a problem, for clients: a member of another type than RFC 9457 says is ignored, as section 3.1 asks, and
 * whatever else is there is an extension. It fails only on what is no JSON object.
 *
 * @example
 * ```ts
 * import { HttpClientResponse } from "@effect/platform"
 * import { ProblemDetails } from "effect-middleware"
 *
 * const problemOf = HttpClientResponse.schemaBodyJson(ProblemDetails.schema)
 * ```
 *
 * @since 0.1.0
 * @category schemas
 */
export const schema: Schema.Schema<Received, Json> = Schema.transform(
  Schema.Record({ key: Schema.String, value: Schema.Unknown }),
  Schema.Struct({
    type: Schema.String,
    status: Schema.optionalWith(Schema.Number, { exact: true }),
    title: Schema.optionalWith(Schema.String, { exact: true }),
    detail: Schema.optionalWith(Schema.String, { exact: true }),
    instance: Schema.optionalWith(Schema.String, { exact: true }),
    extensions: Schema.Record({ key: Schema.String, value: Schema.Unknown })
  }),
  {
    strict: true,
    decode: (json): Received => ({
      type: "about:blank",
      ...Object.fromEntries(
        members.filter((name) => typeof json[name] === (name === "status" ? "number" : "string")).map((
          name
        ) => [name, json[name]])
      ),
      extensions: Object.fromEntries(
        Object.entries(json).filter(([name]) => !members.some((member) => member === name))
      )
    }),
    encode: ({ extensions, ...known }): Json => ({ ...known, ...extensions })
  }
).annotations({ identifier: "ProblemDetails" })

/**
 * What a problem says of an error of an `HttpApi`.
 *
 * @since 0.1.0
 * @category schemas
 */
export interface ErrorProblem<A> extends Omit<Problem, "status" | "detail" | "extensions"> {
  /** Default: the status that `HttpApiSchema.annotations` gives the error. */
  readonly status?: number | undefined
  readonly detail?: string | ((error: A) => string | undefined) | undefined
}

/**
 * The schema of an error for an `HttpApi`, encoded as a problem: the fields of the error are its extensions, so that
 * `HttpApiClient` gives the client the very error.
 *
 * Throws where the error has no error status, and on a field named as a member of every problem.
 *
 * @example
 * ```ts
 * import { HttpApiEndpoint, HttpApiSchema } from "@effect/platform"
 * import { ProblemDetails } from "effect-middleware"
 * import { Schema } from "effect"
 *
 * class NoteNotFound extends Schema.TaggedError<NoteNotFound>()(
 *   "NoteNotFound",
 *   { id: Schema.Number },
 *   HttpApiSchema.annotations({ status: 404 })
 * ) {}
 *
 * const read = HttpApiEndpoint.get("read", "/notes/:id")
 *   .addError(ProblemDetails.error(NoteNotFound, { detail: ({ id }) => `There is no note ${id}` }))
 * ```
 *
 * @since 0.1.0
 * @category schemas
 */
export const error = <A, I extends object, R>(
  schema: Schema.Schema<A, I, R>,
  problem: ErrorProblem<A> = {}
): Schema.Schema<A, Json, R> => {
  const { detail, instance, title, type } = problem
  const status = problem.status ?? HttpApiSchema.getStatusErrorAST(schema.ast)
  // throws on a status that is none
  const constant = toJson({ status, title, type, instance })
  const { ast } = Schema.encodedSchema(schema)
  const taken = ast._tag === "TypeLiteral"
    ? ast.propertySignatures.find(({ name }) => members.some((member) => member === name))
    : undefined
  if (taken !== undefined) {
    throw new TypeError(
      `ProblemDetails: the error has a field "${String(taken.name)}", which is a member of every problem`
    )
  }
  return Schema.transform(Schema.Record({ key: Schema.String, value: Schema.Unknown }), schema, {
    // that the fields are there, the error's own schema checks
    strict: false,
    decode: (json) => json,
    encode: (fields, error): Json => ({
      ...constant,
      detail: typeof detail === "function" ? detail(error) : detail,
      ...fields
    })
  }).annotations(HttpApiSchema.annotations({ status })).pipe(
    HttpApiSchema.withEncoding({ kind: "Json", contentType: mediaType })
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// negotiation
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The form of a problem: `application/problem+json`, `text/plain`, `text/html`.
 *
 * @since 0.1.0
 * @category policy
 */
export type Form = "json" | "text" | "html"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /** The forms on offer; of two that the client wants equally the first is sent. Default: `["json", "text", "html"]`. */
  readonly forms?: ReadonlyArray<Form> | undefined
  /**
   * The member that says the request's identifier, where `RequestId` stands outside; `false` for none.
   * Default: `"requestId"`.
   */
  readonly requestId?: string | false | undefined
  /** Whether an error response without a body gets a problem of its status. Default: `true`. */
  readonly fill?: boolean | undefined
  readonly name?: Name | undefined
}

/**
 * Compiles the choice of a form, once, to a pure function of `Accept`. Rules, in this order:
 *
 * 1. Without `Accept`, or where it covers no form, the first form: an error has to be told (RFC 9110 section 12.4.1).
 * 2. The form with the highest `q`. `application/json` is as good as `application/problem+json`.
 * 3. Of equals the one that is named rather than covered by a wildcard, then the first.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { ProblemDetails } from "effect-middleware"
 *
 * const form = ProblemDetails.policy()
 *
 * assert.equal(form("text/html,application/xhtml+xml,*\/*;q=0.8"), "html")
 * assert.equal(form("*\/*"), "json")
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (accept: string | undefined) => Form => {
  const { forms = ["json", "text", "html"] } = options
  const [first] = forms
  if (first === undefined) throw new TypeError("ProblemDetails: forms is empty: list at least \"json\"")
  return (accept) => {
    if (accept === undefined || accept === "*/*" || forms.length === 1) return first
    const wanted = wants(accept)
    let best = first
    let most: Wanted = { q: 0, exactness: 0 }
    for (const form of forms) {
      for (const type of types[form]) {
        const { exactness, q } = wanted(type)
        if (q > most.q || (q === most.q && q > 0 && exactness > most.exactness)) {
          best = form
          most = { exactness, q }
        }
      }
    }
    return best
  }
}

const types: { readonly [F in Form]: ReadonlyArray<string> } = {
  json: [mediaType, "application/json"],
  text: ["text/plain"],
  html: ["text/html"]
}

/**
 * Gives every problem that passes the form that the client asks for, and the request's identifier: those of this
 * package, of handlers, of an `HttpApi`.
 *
 * - A problem is what has an error status and the content type `application/problem+json`; with `fill` also what has an
 *   error status and no body, such as platform's own 404, 500 and 503.
 * - `Vary: Accept`; a filled response may not be stored, unless it says that it may.
 * - Text and HTML say the status, title, detail and identifier. All of it is escaped, and the page may load nothing.
 *
 * Put it inside `RequestId`, and outside of what refuses.
 *
 * @example
 * ```ts
 * import { ExceptionHandlers, ProblemDetails, RequestId, Stack } from "effect-middleware"
 *
 * const stack = Stack.make(
 *   RequestId.middleware(),
 *   ProblemDetails.middleware(),
 *   ExceptionHandlers.standard()
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "ProblemDetails">(
  options: Options<Name> = {}
): Middleware.Middleware<never, never, never, never, Name, Middleware.Phases> => {
  const formOf = policy(options)
  const { fill = true, requestId: member = "requestId" } = options
  if (member !== false && members.some((name) => name === member)) {
    throw new TypeError(`ProblemDetails: requestId is "${member}", which every problem has; name another member`)
  }
  return Middleware.make({
    name: options.name ?? "ProblemDetails" as Name,
    traits: ["problem"],
    response: (draft, exchange) => {
      if (draft.status < 400) return
      const problem = problemOf(draft, fill)
      if (problem === undefined) return
      const { headers } = exchange.request
      const form = formOf(headers.accept)
      const id = member === false ? undefined : Option.getOrUndefined(exchange.getOption(RequestId))
      if (draft.has("vary")) draft.vary("accept")
      else draft.set("vary", "accept")
      draft.setIfAbsent("cache-control", "no-store")
      if (form === "json") {
        const told = id === undefined || member === false ? problem.text : withMember(problem, member, id)
        if (told !== problem.text || draft.body._tag === "Empty") draft.setBody(HttpBody.text(told, mediaType))
        return
      }
      const lines = linesOf(draft.status, problem.json, id)
      draft.setBody(
        form === "text"
          ? HttpBody.text(lines.join("\n\n") + "\n", "text/plain; charset=utf-8")
          : HttpBody.text(pageOf(lines), "text/html; charset=utf-8")
      )
      if (form === "html") draft.setIfAbsent("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
    }
  })
}

interface Stated {
  readonly json: Json
  readonly text: string
}

/** What the bodies say that were made here: nobody has to read them again. */
const stated = new WeakMap<HttpBody.HttpBody, Stated>()

/** The problem that a response states, if it does. */
const problemOf = (draft: ResponseDraft, fill: boolean): Stated | undefined => {
  const { body, status } = draft
  if (body._tag === "Empty") return fill ? statedOf({ title: titleOf(status), status }) : undefined
  if (body._tag !== "Uint8Array" || draft.has("content-encoding")) return undefined
  if (!/^application\/problem\+json[ \t]*(?:;|$)/i.test(draft.get("content-type") ?? "")) return undefined
  const known = stated.get(body)
  if (known !== undefined) return known
  try {
    const text = new TextDecoder().decode(body.body)
    const json: unknown = JSON.parse(text)
    return typeof json === "object" && json !== null && !Array.isArray(json) ? { json: json as Json, text } : undefined
  } catch {
    // whoever wrote it meant it so
    return undefined
  }
}

const statedOf = (json: Json): Stated => ({ json, text: JSON.stringify(json) })

/** Put in, and not written anew: JSON may say what JavaScript cannot, such as a number of many digits. */
const withMember = ({ json, text }: Stated, name: string, value: string): string => {
  if (Object.hasOwn(json, name) && json[name] !== undefined) return text
  const rest = text.slice(0, text.lastIndexOf("}"))
  return `${rest}${/^\s*\{\s*$/.test(rest) ? "" : ","}${JSON.stringify(name)}:${JSON.stringify(value)}}`
}

const linesOf = (status: number, { detail, title }: Json, id: string | undefined): ReadonlyArray<string> => [
  `${status} ${typeof title === "string" ? title : titleOf(status)}`,
  ...(typeof detail === "string" ? [detail] : []),
  ...(id === undefined ? [] : [`Request ${id}`])
]

const pageOf = ([title = "", ...rest]: ReadonlyArray<string>): string =>
  "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n" +
  "<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n" +
  `<title>${escape(title)}</title>\n<h1>${escape(title)}</h1>\n` +
  rest.map((line) => `<p>${escape(line)}</p>\n`).join("")

const escape = (text: string): string => text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
