/** What sessions fail with: here, since the sessions themselves and their tag both need them. */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Schema from "effect/Schema"
import * as ProblemDetails from "../ProblemDetails.js"
import type { SessionUnavailable } from "../SessionStore.js"

/**
 * Another request has changed the session since this one read it: 409.
 *
 * - `changed`: it holds something else by now, and what was to be written depends on what it held.
 * - `superseded`: it has been rotated, and only its successor can be written.
 * - `ended`: it has been destroyed, or has expired.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionConflict extends Schema.TaggedError<SessionConflict>("effect-middleware/Session/SessionConflict")(
  "SessionConflict",
  { reason: Schema.Literal("changed", "superseded", "ended") },
  HttpApiSchema.annotations({ status: 409 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return `The session has been ${this.reason} by another request`
  }
  [HttpServerRespondable.symbol]() {
    return conflict
  }
}
const conflict = ProblemDetails.toResponse({
  status: 409,
  detail: "Another request has changed the session in the meantime"
})

/**
 * What was to be written does not fit into a cookie: 500, unless a handler says something better. Sizes are in bytes,
 * and of the whole cookie: name and value.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionTooLarge extends Schema.TaggedError<SessionTooLarge>("effect-middleware/Session/SessionTooLarge")(
  "SessionTooLarge",
  { size: Schema.Number, limit: Schema.Number },
  HttpApiSchema.annotations({ status: 500 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return `The session's cookie would have ${this.size} bytes, and browsers keep ${this.limit}`
  }
  [HttpServerRespondable.symbol]() {
    return failed
  }
}

/**
 * The response has been sent already, or is a WebSocket's 101: what is written now could reach nobody. 500.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionSent extends Schema.TaggedError<SessionSent>("effect-middleware/Session/SessionSent")(
  "SessionSent",
  {},
  HttpApiSchema.annotations({ status: 500 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return "The session cannot be written: its response has been sent. Write it before the body or the WebSocket begins"
  }
  [HttpServerRespondable.symbol]() {
    return failed
  }
}
const failed = ProblemDetails.toResponse({ status: 500 })

/**
 * What a write can fail with.
 *
 * @since 0.1.0
 * @category errors
 */
export type WriteError = SessionConflict | SessionSent | SessionTooLarge | SessionUnavailable
