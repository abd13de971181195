import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"

/** Requests for which a session or a principal has been asked for, by what every view of one has alike. */
const personal = new WeakSet<object>()

/** What every view of a request has alike: on every server it is an object. */
export const sourceOf = ({ source }: HttpServerRequest.HttpServerRequest): object => source as object

/** From here on, what answers a request is for one person, whatever its header will say. */
export const makePersonal = (request: HttpServerRequest.HttpServerRequest): void => void personal.add(sourceOf(request))

export const isPersonal = (request: HttpServerRequest.HttpServerRequest): boolean => personal.has(sourceOf(request))
