/**
 * The parts of `Stack.site` and `Stack.api` that need not be said: what almost every server has.
 *
 * @since 0.1.0
 */
import * as AccessLog from "./AccessLog.js"
import * as BodyLimit from "./BodyLimit.js"
import * as Compression from "./Compression.js"
import * as Conditional from "./Conditional.js"
import * as Csrf from "./Csrf.js"
import * as ExceptionHandlers from "./ExceptionHandlers.js"
import * as HttpsRedirect from "./HttpsRedirect.js"
import * as ProblemDetails from "./ProblemDetails.js"
import * as RequestId from "./RequestId.js"
import * as SecurityHeaders from "./SecurityHeaders.js"
import * as ServerErrors from "./ServerErrors.js"
import * as Timeout from "./Timeout.js"

const none = false as const

const common = () => ({
  serverErrors: ServerErrors.middleware(),
  requestId: RequestId.middleware(),
  accessLog: AccessLog.middleware(),
  metrics: none,
  problemDetails: ProblemDetails.middleware(),
  timeout: Timeout.middleware({ limit: "30 seconds" }),
  concurrency: none,
  bodyLimit: BodyLimit.middleware(),
  compression: Compression.middleware(),
  decompression: none,
  cache: none,
  conditional: Conditional.middleware(),
  errors: ExceptionHandlers.standard()
})

/**
 * All parts of a site but `forwarded`, `host` and `session`. Those that not every site has are `false`.
 *
 * @example
 * ```ts
 * import { Defaults, Forwarded, Stack, TrustedHost } from "effect-middleware"
 *
 * const stack = Stack.site({
 *   ...Defaults.site(),
 *   forwarded: Forwarded.middleware({ trust: "none" }),
 *   host: TrustedHost.middleware({ hosts: ["example.com"] }),
 *   session: false,
 *   compression: false
 * })
 * ```
 *
 * @since 0.1.0
 * @category parts
 */
export const site = () => ({
  ...common(),
  cors: none,
  securityHeaders: SecurityHeaders.middleware(),
  https: HttpsRedirect.middleware(),
  csrf: Csrf.middleware(),
  rateLimit: none,
  authentication: none
})

/**
 * All parts of an api but `forwarded`, `host`, `cors`, `rateLimit` and `authentication`.
 *
 * @example
 * ```ts
 * import { Defaults, Forwarded, Stack, TrustedHost } from "effect-middleware"
 *
 * const stack = Stack.api({
 *   ...Defaults.api(),
 *   forwarded: Forwarded.middleware({ trust: "none" }),
 *   host: TrustedHost.middleware({ hosts: ["api.example.com"] }),
 *   cors: false,
 *   rateLimit: false,
 *   authentication: false
 * })
 * ```
 *
 * @since 0.1.0
 * @category parts
 */
export const api = () => ({
  ...common(),
  securityHeaders: SecurityHeaders.middleware({ preset: "api" }),
  https: HttpsRedirect.middleware({ others: "refuse" }),
  quota: none
})
