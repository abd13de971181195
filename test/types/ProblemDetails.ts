import type { Headers, HttpServerResponse } from "@effect/platform"
import { HttpApiEndpoint } from "@effect/platform"
import { Schema } from "effect"
import { type Middleware, ProblemDetails } from "effect-middleware"
import { NotFound, same, typeOf } from "./fixtures.js"

typeOf(ProblemDetails.toResponse({ status: 404 })).is<HttpServerResponse.HttpServerResponse>()
typeOf(ProblemDetails.toResponse({
  status: 409,
  type: "https://example.com/problems/sold-out",
  title: "Sold out",
  detail: undefined,
  instance: "/orders/1",
  extensions: { restockedInDays: 3 }
}, { headers: { "retry-after": "60" } })).is<HttpServerResponse.HttpServerResponse>()
same<keyof ProblemDetails.Problem, "status" | "type" | "title" | "detail" | "instance" | "extensions">()
export const headers: Headers.Input = { "retry-after": "60" }

// @ts-expect-error a problem has a status
ProblemDetails.toResponse({ title: "Sold out" })
// @ts-expect-error further members stand under `extensions`
ProblemDetails.toResponse({ status: 409, restockedInDays: 3 })
// @ts-expect-error a number
ProblemDetails.toResponse({ status: "409" })

typeOf(ProblemDetails.toJson({ status: 404 })).is<ProblemDetails.Json>()
typeOf(ProblemDetails.fromJson(404, { title: "Not Found" }, { "retry-after": "1" })).is<
  HttpServerResponse.HttpServerResponse
>()
same<typeof ProblemDetails.mediaType, "application/problem+json">()

// for clients
typeOf(ProblemDetails.schema).is<Schema.Schema<ProblemDetails.Received, ProblemDetails.Json>>()
same<ProblemDetails.Received["status"], number | undefined>()
same<ProblemDetails.Received["type"], string>()

// for an HttpApi
const missing = ProblemDetails.error(NotFound, {
  status: 404,
  detail: (error) => {
    typeOf(error).is<NotFound>()
    return `No ${error.id}`
  }
})
typeOf(missing).is<Schema.Schema<NotFound, ProblemDetails.Json>>()
HttpApiEndpoint.get("read", "/").addError(missing)
same<keyof ProblemDetails.ErrorProblem<NotFound>, "status" | "type" | "title" | "detail" | "instance">()
// @ts-expect-error an error has fields
ProblemDetails.error(Schema.String)

// negotiation
typeOf(ProblemDetails.policy()).is<(accept: string | undefined) => ProblemDetails.Form>()
same<ProblemDetails.Form, "json" | "text" | "html">()
same<keyof ProblemDetails.Options, "forms" | "requestId" | "fill" | "name">()
typeOf(ProblemDetails.middleware()).is<
  Middleware.Middleware<never, never, never, never, "ProblemDetails", Middleware.Phases>
>()
typeOf(ProblemDetails.middleware({ forms: ["json"], requestId: false, fill: false, name: "Problems" })).is<
  Middleware.Middleware<never, never, never, never, "Problems", Middleware.Phases>
>()
// @ts-expect-error no such form
ProblemDetails.policy({ forms: ["xml"] })
