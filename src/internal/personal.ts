import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"

/** What every view of a request has alike: on every server it is an object. */
export const sourceOf = ({ source }: HttpServerRequest.HttpServerRequest): object => source as object

const personalKey: unique symbol = Symbol.for("effect-middleware/personal")
/** Those on which nothing can be noted. */
const sealed = new WeakSet<object>()

/**
 * From here on, what answers a request is for one person, whatever its header will say. It is noted on the request itself:
 * what a weak set holds outlives the next collections, and with it all that the request holds.
 */
export const makePersonal = (request: HttpServerRequest.HttpServerRequest): void => {
  const source = sourceOf(request)
  if (!Reflect.set(source, personalKey, true)) sealed.add(source)
}

export const isPersonal = (request: HttpServerRequest.HttpServerRequest): boolean => {
  const source: { readonly [personalKey]?: boolean } = sourceOf(request)
  return source[personalKey] === true || sealed.has(source)
}
