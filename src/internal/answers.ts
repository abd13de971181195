/**
 * What knows its answer without anybody's handler: a failure that renders itself, and what platform's own parts fail
 * with.
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Multipart from "@effect/platform/Multipart"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as ProblemDetails from "../ProblemDetails.js"
import { hasContent, isJson, mediaTypeOf } from "./content.js"
import type { Failed } from "./failures.js"
import { issuesOf } from "./issues.js"
import { ownFace } from "./kernel.js"

export type Answer = Effect.Effect<HttpServerResponse.HttpServerResponse>

/** The answer that is known without anybody's handler. */
export const answerOf = (failed: Failed): Answer | undefined => {
  const { defect } = failed
  // under a span Effect fails with a stand-in, of which every question costs more
  const error = Cause.originalError(failed.error)
  const carried = carriedBy(error)
  if (carried !== undefined) return render(carried)
  if (isRequestError(error)) return constant(statusOfRequestError(error))
  if (error instanceof Multipart.MultipartError) {
    const status = statusOfMultipart(error, failed.request)
    return status === undefined ? undefined : constant(status)
  }
  // what else is thrown is a mistake of the program
  if (defect) return undefined
  if (HttpServerResponse.isServerResponse(error)) return error
  if (isTagged(error, "RouteNotFound") && HttpServerError.isServerError(error)) {
    const allow = failed.allow()
    return allow === undefined ? constant(404) : notAllowed(allow)
  }
  if (ParseResult.isParseError(error)) return malformed(error, failed.request)
  if (Cause.isNoSuchElementException(error)) return constant(404)
  if (typeof error !== "object" || error === null) return undefined
  const status = annotatedStatus(error)
  // the api may declare it, and platform renders what it does not
  if (status !== undefined && failed.inApi()) return undefined
  const face = ownFace(error)
  if (face !== undefined) return render(face)
  return status === undefined ? undefined : constant(status)
}

/** A middleware fails the reading of a body with what knows its answer; platform wraps it in errors of its own, at most twice. */
const carriedBy = (
  error: unknown,
  depth = 0
): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown> | undefined => {
  if (!isOfBody(error)) return undefined
  const { cause } = error
  if (isOfBody(cause)) return depth < 2 ? carriedBy(cause, depth + 1) : undefined
  return typeof cause === "object" && cause !== null ? ownFace(cause) : undefined
}
const isOfBody = (error: unknown): error is HttpServerError.RequestError | Multipart.MultipartError =>
  error instanceof Multipart.MultipartError || isRequestError(error)
const isRequestError = (error: unknown): error is HttpServerError.RequestError =>
  isTagged(error, "RequestError") && HttpServerError.isServerError(error)

/** What throws while platform renders it leaves the client without an answer; as a defect of ours it is a 500. */
const render = (face: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown>): Answer =>
  HttpServerResponse.isServerResponse(face) ? face : Effect.matchCauseEffect(face, {
    onFailure: (cause) => unrenderable(Cause.squash(cause)),
    onSuccess: (response) =>
      HttpServerResponse.isServerResponse(response) ? Effect.succeed(response) : unrenderable(response)
  })

const unrenderable = (cause: unknown) => Effect.die(new Error("A failure could not be rendered", { cause }))

const constants = new Map<number, HttpServerResponse.HttpServerResponse>()
/** The problem of a status. */
export const constant = (status: number): HttpServerResponse.HttpServerResponse => {
  const made = constants.get(status) ?? ProblemDetails.toResponse({ status, detail: details[status] })
  constants.set(status, made)
  return made
}
const details: { readonly [status: number]: string | undefined } = {
  400: "The request could not be read",
  413: "The content is larger than this server takes",
  415: "The content is not of a type that is expected here"
}

/** As many as there are sets of methods in the routes of the program. */
const byAllow = new Map<string, HttpServerResponse.HttpServerResponse>()
const notAllowed = (allow: string): HttpServerResponse.HttpServerResponse => {
  const made = byAllow.get(allow) ?? ProblemDetails.toResponse({ status: 405 }, { headers: { allow } })
  byAllow.set(allow, made)
  return made
}

const statusOfRequestError = ({ cause, request }: HttpServerError.RequestError): number => {
  if (cause instanceof Multipart.MultipartError) return statusOfMultipart(cause, request) ?? 400
  if (!(cause instanceof Error)) return 400
  // the words of platform's Node server, which test/platform-facts.test.ts holds it to
  if (cause.message === "maxBytes exceeded") return 413
  const type = request.headers["content-type"]
  return cause instanceof SyntaxError && type !== undefined && !isJson(mediaTypeOf(type)) ? 415 : 400
}

/** Trouble of the server has none. */
const statusOfMultipart = (
  { reason }: Multipart.MultipartError,
  { headers }: HttpServerRequest.HttpServerRequest
): number | undefined => {
  if (reason === "InternalError") return undefined
  if (reason !== "Parse") return 413
  return mediaTypeOf(headers["content-type"] ?? "") === "multipart/form-data" ? 400 : 415
}

const malformed = (
  { issue }: ParseResult.ParseError,
  request: HttpServerRequest.HttpServerRequest
): HttpServerResponse.HttpServerResponse =>
  ProblemDetails.toResponse({
    status: hasContent(request) && !isOfHead(issue.actual, request) ? 422 : 400,
    detail: "The request does not have the expected shape",
    extensions: { errors: issuesOf(issue) }
  })

/** Whether what was decoded is the fields or the cookies, or stands in the target: a path or a query. */
const isOfHead = (actual: unknown, { cookies, headers, url }: HttpServerRequest.HttpServerRequest): boolean => {
  if (actual === headers || actual === cookies) return true
  if (typeof actual !== "object" || actual === null) return false
  const values = new Set(Object.values(actual).flat())
  if (values.size === 0) return false
  const target = decoded(url)
  // together no longer than it, or a client has the target searched for as long as it likes
  let left = target.length
  for (const value of values) {
    if (value === undefined) continue
    if (typeof value !== "string" || (left -= value.length) < 0 || !target.includes(value)) return false
  }
  return true
}

const decoded = (url: string): string => {
  const spaced = url.replace(/\+/g, " ")
  try {
    return `${url}\n${decodeURIComponent(spaced)}`
  } catch {
    return url
  }
}

/** Of an error class with a schema, which says the status. */
const annotatedStatus = (error: object): number | undefined => {
  const { constructor } = error
  if (typeof constructor !== "function") return undefined
  if (!annotated.has(constructor)) {
    const status = Schema.isSchema(constructor) ? HttpApiSchema.getStatus(constructor.ast, 0) : 0
    annotated.set(constructor, status >= 400 && status <= 599 ? status : undefined)
  }
  return annotated.get(constructor)
}
const annotated = new WeakMap<object, number | undefined>()

const isTagged = (error: unknown, tag: string): boolean => tagOf(error) === tag

export const tagOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "_tag" in error && typeof error._tag === "string" ? error._tag : ""
