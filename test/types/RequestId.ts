import { type HttpClient, type HttpClientError, HttpServerResponse } from "@effect/platform"
import { Effect, type Scope } from "effect"
import { type Entropy, Forwarded, type Middleware, RequestId, Stack } from "effect-middleware"
import { condition, same, typeOf } from "./fixtures.js"

type Of<Requires, Name extends string = "RequestId"> = Middleware.Middleware<
  RequestId.RequestId,
  never,
  Requires,
  never,
  Name,
  Middleware.Phases
>

typeOf(RequestId.middleware()).is<Of<never>>()
typeOf(RequestId.middleware({
  header: "x-trace-id",
  generate: RequestId.uuid7,
  respond: false,
  annotation: "trace",
  name: "TraceId"
})).is<Of<never, "TraceId">>()

// who trusts a proxy has to know it
typeOf(RequestId.middleware({ trust: "proxy" })).is<Of<Forwarded.Client>>()
typeOf(RequestId.middleware({ trust: condition ? "proxy" : "none" })).is<Of<Forwarded.Client>>()
declare const trust: RequestId.Trusted
typeOf(RequestId.middleware({ trust })).is<Of<Forwarded.Client>>()
declare const options: RequestId.Options
typeOf(RequestId.middleware(options)).is<Of<Forwarded.Client, string>>()
// the others do not
declare const when: RequestId.TrustedWhen
typeOf(RequestId.middleware({ trust: when })).is<Of<never>>()
typeOf(RequestId.middleware({ trust: "none" })).is<Of<never>>()
typeOf(RequestId.middleware({ trust: "all" })).is<Of<never>>()
typeOf(RequestId.middleware({ trust: (request) => request.headers["x-from"] === "us" })).is<Of<never>>()

Stack.make(Forwarded.middleware({ trust: "none" }), RequestId.middleware({ trust: "proxy" }))
// @ts-expect-error the client is known only inside Forwarded
Stack.make(RequestId.middleware({ trust: "proxy" }), Forwarded.middleware({ trust: "none" }))
// @ts-expect-error no such trust
RequestId.middleware({ trust: "everybody" })
// @ts-expect-error it makes a string
RequestId.middleware({ generate: () => 1 })

// the service
typeOf(Effect.map(RequestId.RequestId, HttpServerResponse.text)).is<
  Effect.Effect<HttpServerResponse.HttpServerResponse, never, RequestId.RequestId>
>()
same<(typeof RequestId.RequestId)["Service"], string>()
// it lives for one request
same<Extract<RequestId.RequestId, Middleware.PerRequest>, RequestId.RequestId>()

typeOf(RequestId.uuid4).is<RequestId.Generator>()
typeOf(RequestId.uuid7).is<RequestId.Generator>()
same<RequestId.Generator, (entropy: Entropy.Service, now: () => number) => string>()
declare const id: string | undefined
if (RequestId.isValid(id)) typeOf(id).is<string>()

// a client stays what it is
declare const client: HttpClient.HttpClient.With<HttpClientError.RequestError, Scope.Scope>
typeOf(RequestId.propagate(client)).is<typeof client>()
typeOf(RequestId.propagate(client, { header: "x-trace-id" })).is<typeof client>()
