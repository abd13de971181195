import type { HttpServerResponse } from "@effect/platform"
import { type Headers } from "@effect/platform"
import { ProblemDetails } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

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
