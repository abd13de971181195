/**
 * How a request of our own server gives another view of itself: an object of the same class is read at a fraction of what
 * one costs that has the request for its prototype.
 */
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import type { RequestChanges } from "../Middleware.js"

/** What it is a view of; nothing where it is as the server made it. */
export const baseKey: unique symbol = Symbol.for("effect-middleware/Middleware/base")
export const viewKey: unique symbol = Symbol.for("effect-middleware/Middleware/view")

export interface Viewable {
  readonly [viewKey]: (changes: Omit<RequestChanges, "stream">) => HttpServerRequest
}
