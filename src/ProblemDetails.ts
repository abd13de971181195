/**
 * The body of every refusal: problem details for HTTP APIs (RFC 9457).
 *
 * @since 0.1.0
 */
import * as Headers from "@effect/platform/Headers"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"

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
 * The response that states a problem.
 *
 * - `Content-Type: application/problem+json`, `Cache-Control: no-store`.
 * - A problem of type `about:blank` has the status phrase for a title (section 4.2.1).
 * - Throws on a status that is not an error and on an extension that would
 *   overwrite a member: mistakes of the program.
 *
 * The value is immutable: a refusal that never varies builds it once.
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
): HttpServerResponse.HttpServerResponse => {
  const { detail, extensions = {}, instance, status, type } = problem
  if (!Number.isInteger(status) || status < 400 || status > 599) {
    throw new TypeError(`ProblemDetails: status ${status} is not an error; use 400 to 599`)
  }
  for (const name of ["type", "title", "status", "detail", "instance"]) {
    if (name in extensions) {
      throw new TypeError(`ProblemDetails: "${name}" is a member of every problem; set it beside \`extensions\``)
    }
  }
  const title = problem.title ?? phrases[status] ?? (status < 500 ? "Client Error" : "Server Error")
  return HttpServerResponse.text(
    // what is undefined does not show
    JSON.stringify({ type, title, status, detail, instance, ...extensions }),
    {
      status,
      contentType: "application/problem+json",
      headers: { "cache-control": "no-store", ...Headers.fromInput(options?.headers) }
    }
  )
}

/** RFC 9110 section 15, RFC 6585, RFC 4918, RFC 7725, RFC 8470. */
const phrases: { readonly [status: number]: string | undefined } = {
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  411: "Length Required",
  412: "Precondition Failed",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  417: "Expectation Failed",
  421: "Misdirected Request",
  422: "Unprocessable Content",
  423: "Locked",
  424: "Failed Dependency",
  425: "Too Early",
  426: "Upgrade Required",
  428: "Precondition Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  451: "Unavailable For Legal Reasons",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
  507: "Insufficient Storage",
  508: "Loop Detected",
  511: "Network Authentication Required"
}
