import type { HttpApp } from "@effect/platform"
import { Effect } from "effect"
import { Forwarded, type Middleware, SecurityHeaders, Stack } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Provides = never, Requires = Forwarded.Client, Name extends string = "SecurityHeaders"> = Middleware.Middleware<
  Provides,
  never,
  Requires,
  never,
  Name,
  Middleware.Phases
>

typeOf(SecurityHeaders.middleware()).is<Of>()
typeOf(SecurityHeaders.middleware({ preset: "api", name: "Api" })).is<Of<never, Forwarded.Client, "Api">>()
typeOf(SecurityHeaders.middleware({ strictTransportSecurity: { maxAge: "1 days" } })).is<Of>()
// what knows nothing of https needs to know nothing of the client
typeOf(SecurityHeaders.middleware({ strictTransportSecurity: false })).is<Of<never, never>>()
typeOf(SecurityHeaders.middleware({ nonce: ["scriptSrc", "styleSrc"] })).is<Of<SecurityHeaders.Nonce>>()
typeOf(SecurityHeaders.middleware({ nonce: undefined })).is<Of>()
typeOf(SecurityHeaders.middleware({ nonce: ["scriptSrc"], strictTransportSecurity: false })).is<
  Of<SecurityHeaders.Nonce, never>
>()

// of options that are not known as such, a nonce is not there for sure, and a client is needed
declare const options: SecurityHeaders.Options
typeOf(SecurityHeaders.middleware(options)).is<Of<never, Forwarded.Client, string>>()

// every field
typeOf(SecurityHeaders.middleware({
  preset: "site",
  override: true,
  contentSecurityPolicy: {
    defaultSrc: ["'self'"],
    scriptSrc: ["'self'", SecurityHeaders.hash("alert(1)", "sha384")],
    imgSrc: false,
    sandbox: ["allow-forms"],
    requireTrustedTypesFor: ["'script'"],
    upgradeInsecureRequests: true,
    reportTo: "main"
  },
  contentSecurityPolicyReportOnly: { scriptSrc: ["'none'"], reportTo: "main" },
  reportingEndpoints: { main: "/reports" },
  crossOriginOpenerPolicy: "same-origin",
  crossOriginEmbedderPolicy: "require-corp",
  crossOriginResourcePolicy: false,
  originAgentCluster: true,
  permissionsPolicy: { camera: [], geolocation: ["self", "https://example.com"], fullscreen: "*", midi: false },
  referrerPolicy: ["no-referrer", "strict-origin"],
  contentTypeOptions: false,
  frameOptions: "DENY"
})).is<Of>()

// the nonce is known to what is inside alone
typeOf(Effect.map(SecurityHeaders.Nonce, ({ value }) => value)).is<
  Effect.Effect<string, never, SecurityHeaders.Nonce>
>()
declare const app: HttpApp.Default<never, SecurityHeaders.Nonce>
typeOf(app.pipe(SecurityHeaders.middleware({ nonce: ["scriptSrc"] }))).is<HttpApp.Default<never, Forwarded.Client>>()
typeOf(app.pipe(SecurityHeaders.middleware())).is<HttpApp.Default<never, Forwarded.Client | SecurityHeaders.Nonce>>()

Stack.make(Forwarded.middleware({ trust: "none" }), SecurityHeaders.middleware())
Stack.make(
  // @ts-expect-error how a client came is known only inside Forwarded
  SecurityHeaders.middleware(),
  Forwarded.middleware({ trust: "none" })
)

// changes provide and require nothing
typeOf(SecurityHeaders.change({ preset: "embed", contentSecurityPolicy: { frameAncestors: ["*"] } })).is<
  Of<never, never, "SecurityHeaders.change">
>()
typeOf(SecurityHeaders.change({ frameOptions: false, name: "Frames" })).is<Of<never, never, "Frames">>()
declare const changes: SecurityHeaders.Changes
typeOf(SecurityHeaders.change(changes)).is<Of<never, never, string>>()
// @ts-expect-error what is the host's is no route's
SecurityHeaders.change({ strictTransportSecurity: false })
// @ts-expect-error a nonce is the middleware's
SecurityHeaders.change({ nonce: ["scriptSrc"] })

// @ts-expect-error no such directive
SecurityHeaders.middleware({ contentSecurityPolicy: { "script-src": ["'self'"] } })
// @ts-expect-error sources are a list
SecurityHeaders.middleware({ contentSecurityPolicy: { scriptSrc: "'self'" } })
// @ts-expect-error what is allowed begins with allow-
SecurityHeaders.middleware({ contentSecurityPolicy: { sandbox: ["forms"] } })
// @ts-expect-error a browser ignores it where it only reports
SecurityHeaders.middleware({ contentSecurityPolicyReportOnly: { sandbox: true } })
// @ts-expect-error an attribute has no nonce
SecurityHeaders.middleware({ nonce: ["scriptSrcAttr"] })
// @ts-expect-error no such feature
SecurityHeaders.middleware({ permissionsPolicy: { kamera: [] } })
// @ts-expect-error the keyword has no quotes here
SecurityHeaders.middleware({ permissionsPolicy: { camera: ["'self'"] } })
// @ts-expect-error browsers have dropped it
SecurityHeaders.middleware({ frameOptions: "ALLOW-FROM https://example.com" })
// @ts-expect-error no such preset
SecurityHeaders.middleware({ preset: "web" })

// the presets are fields
export const presets: { readonly [P in SecurityHeaders.Preset]: SecurityHeaders.Fields } = SecurityHeaders.presets
same<keyof typeof SecurityHeaders.presets, SecurityHeaders.Preset>()
typeOf(SecurityHeaders.policy(options)).is<(nonce?: string) => SecurityHeaders.Printed>()

// the parts have names
declare const source: SecurityHeaders.Source
declare const directives: SecurityHeaders.Directives
declare const reported: SecurityHeaders.ReportOnlyDirectives
declare const nonced: SecurityHeaders.NonceDirective
declare const feature: SecurityHeaders.Feature
declare const allowlist: SecurityHeaders.Allowlist
declare const referrerPolicy: SecurityHeaders.ReferrerPolicy
SecurityHeaders.middleware({
  contentSecurityPolicy: { ...directives, scriptSrc: [source] },
  contentSecurityPolicyReportOnly: reported,
  nonce: [nonced],
  permissionsPolicy: { [feature]: allowlist },
  referrerPolicy
})
