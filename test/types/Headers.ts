import type { HttpApp } from "@effect/platform"
import { Headers, type Middleware } from "effect-middleware"
import { typeOf } from "./fixtures.js"

type Of<Name extends string = "Headers"> = Middleware.Middleware<never, never, never, never, Name, Middleware.Phases>

typeOf(Headers.middleware({})).is<Of>()
typeOf(Headers.middleware({ set: { "x-a": "1", "x-b": ({ request }) => request.method }, name: "Own" })).is<Of<"Own">>()
declare const options: Headers.Options
typeOf(Headers.middleware(options)).is<Of<string>>()

declare const app: HttpApp.Default
typeOf(app.pipe(Headers.middleware({ remove: ["server"] }))).is<HttpApp.Default>()

// the rules alone
typeOf(Headers.policy(options)).is<Headers.Policy>()

// a value is a text, or is made of the request
const made: Headers.Value = ({ request }) => request.headers["x-a"]
const fields: Headers.Fields = { "x-a": made, "x-b": "1" }
Headers.middleware({ set: fields, request: { set: fields } })
// @ts-expect-error a field has a text
Headers.middleware({ set: { "x-a": 1 } })
