import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { Forwarded, Middleware, ResponseDraft, SecurityHeaders, Stack } from "effect-middleware"
import { bench, describe } from "vitest"

/** Twelve fields, with `Strict-Transport-Security`. */
const options = {
  crossOriginEmbedderPolicy: "credentialless",
  contentSecurityPolicyReportOnly: { defaultSrc: ["'self'"], reportTo: "main" },
  reportingEndpoints: { main: "/reports" }
} as const satisfies SecurityHeaders.Options

const response = HttpServerResponse.text("hello", { headers: { "cache-control": "no-store", vary: "origin" } })

describe("SecurityHeaders, on a draft", () => {
  const fields = { ...SecurityHeaders.policy(options)(), "strict-transport-security": "max-age=31536000" }
  const open = () => {
    const draft = ResponseDraft.open(response)
    draft.set("x-other", "1")
    return draft
  }
  bench("without", () => void open().toResponse())
  bench("12 fields", () => {
    const draft = open()
    draft.setDefaults(fields)
    draft.toResponse()
  })
  bench("12 fields, one by one", () => {
    const draft = open()
    for (const name in fields) draft.setIfAbsent(name, fields[name as keyof typeof fields])
    draft.toResponse()
  })
  const fieldsFor = SecurityHeaders.policy({ ...options, nonce: ["scriptSrc", "styleSrc"] })
  bench("printing a nonce", () => void fieldsFor("kR8Y2pQzT0mXw4v6bN1cLg=="))
})

describe("SecurityHeaders, in a stack", () => {
  const request = HttpServerRequest.fromWeb(new Request("https://example.com/", { headers: { host: "example.com" } }))
  const client = Forwarded.middleware({ trust: "none" })
  const other = Middleware.make({ name: "Other", response: (draft) => draft.set("x-other", "1") })
  const run = (app: Effect.Effect<unknown, never, HttpServerRequest.HttpServerRequest>) => {
    const effect = Effect.provideService(app, HttpServerRequest.HttpServerRequest, request)
    return () => void Effect.runSync(effect as Effect.Effect<unknown>)
  }
  const app = Effect.succeed(response)
  bench("without", run(app.pipe(Stack.make(client, other))))
  bench("12 fields", run(app.pipe(Stack.make(client, other, SecurityHeaders.middleware(options)))))
})
