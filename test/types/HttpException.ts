import type { HttpServerResponse } from "@effect/platform"
import { HttpApiEndpoint } from "@effect/platform"
import { Effect, type Schema } from "effect"
import { HttpException, type ProblemDetails } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Error = HttpException.HttpException

typeOf(HttpException.make(418)).is<Error>()
typeOf(new HttpException.HttpException(418, { title: "I'm a teapot" })).is<Error>()
typeOf(HttpException.notFound()).is<Error>()
typeOf(
  HttpException.notFound({
    type: "https://example.com/a",
    title: "Not here",
    detail: undefined,
    instance: "/a",
    extensions: { a: 1 },
    headers: { "retry-after": "1" },
    cause: "why"
  })
).is<Error>()
same<Error["_tag"], "HttpException">()
same<Error["status"], number>()
same<Error["response"], HttpServerResponse.HttpServerResponse>()
same<
  keyof HttpException.Options,
  "type" | "title" | "detail" | "instance" | "extensions" | "headers" | "cause"
>()
// it is an Effect that fails
typeOf(Effect.gen(function*() {
  return yield* HttpException.gone()
})).is<Effect.Effect<never, Error>>()
// as an error of an api
typeOf(HttpException.schema(404)).is<Schema.Schema<Error, ProblemDetails.Json>>()
HttpApiEndpoint.get("read", "/").addError(HttpException.schema(404))

// those that must come with a field
typeOf(HttpException.unauthorized({ challenge: "Basic" })).is<Error>()
typeOf(HttpException.methodNotAllowed({ allow: [] })).is<Error>()
typeOf(HttpException.proxyAuthenticationRequired({ challenge: "Basic" })).is<Error>()
typeOf(HttpException.upgradeRequired({ upgrade: ["websocket"], detail: "A socket" })).is<Error>()

// all others
type Constructor = (options?: HttpException.Options) => Error
typeOf(HttpException.badRequest).is<Constructor>()
typeOf(HttpException.paymentRequired).is<Constructor>()
typeOf(HttpException.forbidden).is<Constructor>()
typeOf(HttpException.notFound).is<Constructor>()
typeOf(HttpException.notAcceptable).is<Constructor>()
typeOf(HttpException.requestTimeout).is<Constructor>()
typeOf(HttpException.conflict).is<Constructor>()
typeOf(HttpException.gone).is<Constructor>()
typeOf(HttpException.lengthRequired).is<Constructor>()
typeOf(HttpException.preconditionFailed).is<Constructor>()
typeOf(HttpException.contentTooLarge).is<Constructor>()
typeOf(HttpException.uriTooLong).is<Constructor>()
typeOf(HttpException.unsupportedMediaType).is<Constructor>()
typeOf(HttpException.rangeNotSatisfiable).is<Constructor>()
typeOf(HttpException.expectationFailed).is<Constructor>()
typeOf(HttpException.misdirectedRequest).is<Constructor>()
typeOf(HttpException.unprocessableContent).is<Constructor>()
typeOf(HttpException.locked).is<Constructor>()
typeOf(HttpException.failedDependency).is<Constructor>()
typeOf(HttpException.tooEarly).is<Constructor>()
typeOf(HttpException.preconditionRequired).is<Constructor>()
typeOf(HttpException.tooManyRequests).is<Constructor>()
typeOf(HttpException.requestHeaderFieldsTooLarge).is<Constructor>()
typeOf(HttpException.unavailableForLegalReasons).is<Constructor>()
typeOf(HttpException.internalServerError).is<Constructor>()
typeOf(HttpException.notImplemented).is<Constructor>()
typeOf(HttpException.badGateway).is<Constructor>()
typeOf(HttpException.serviceUnavailable).is<Constructor>()
typeOf(HttpException.gatewayTimeout).is<Constructor>()
typeOf(HttpException.httpVersionNotSupported).is<Constructor>()
typeOf(HttpException.insufficientStorage).is<Constructor>()
typeOf(HttpException.loopDetected).is<Constructor>()
typeOf(HttpException.networkAuthenticationRequired).is<Constructor>()

// @ts-expect-error a 401 says how to authenticate
HttpException.unauthorized()
// @ts-expect-error a 405 says what is allowed
HttpException.methodNotAllowed({ detail: "No" })
// @ts-expect-error a 407 says how to authenticate
HttpException.proxyAuthenticationRequired({})
// @ts-expect-error a 426 says to what
HttpException.upgradeRequired({ upgrade: [] })
// @ts-expect-error the status is the constructor's
HttpException.notFound({ status: 404 })
// @ts-expect-error further members stand under `extensions`
HttpException.notFound({ id: 1 })
