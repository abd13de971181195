import { Forwarded, Metrics, type Middleware, Stack } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Name extends string = "Metrics"> = Middleware.Middleware<
  never,
  never,
  Forwarded.Client,
  never,
  Name,
  Middleware.Phases
>

typeOf(Metrics.middleware()).is<Of>()
typeOf(Metrics.middleware({})).is<Of>()
typeOf(
  Metrics.middleware({
    measure: ["duration", "activeRequests", "requestBodySize", "responseBodySize", "refusals"],
    boundaries: { duration: [0.1, 1], size: Metrics.boundaries.size },
    methods: [...Metrics.knownMethods, "PROPFIND"],
    labels: (request, sent) => ({ secure: String(request.url !== ""), cut: String(sent.aborted) }),
    name: "HttpMetrics"
  })
).is<Of<"HttpMetrics">>()
declare const options: Metrics.Options
typeOf(Metrics.middleware(options)).is<Of<string>>()

// the scheme is the client's, and so it stands inside Forwarded
Stack.make(Forwarded.middleware({ trust: "none" }), Metrics.middleware())
// @ts-expect-error the client is known only inside Forwarded
Stack.make(Metrics.middleware(), Forwarded.middleware({ trust: "none" }))

// @ts-expect-error something has to be measured
Metrics.middleware({ measure: [] })
// @ts-expect-error no such measurement
Metrics.middleware({ measure: ["latency"] })
// @ts-expect-error a label is text
Metrics.middleware({ labels: () => ({ plan: 1 }) })

// the rules alone
typeOf(Metrics.policy()).is<(facts: Metrics.Facts) => Metrics.Labels>()
typeOf(Metrics.policy(options)).is<(facts: Metrics.Facts) => Metrics.Labels>()
same<Metrics.Labels, { readonly [name: string]: string }>()
same<Metrics.Facts["scheme"], "http" | "https">()
same<Metrics.Measurement, "duration" | "activeRequests" | "requestBodySize" | "responseBodySize" | "refusals">()
same<typeof Metrics.boundaries.duration, ReadonlyArray<number>>()
same<typeof Metrics.knownMethods, ReadonlyArray<string>>()
