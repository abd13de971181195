/**
 * One structured line in the log for each request, written when the response is done: the last byte sent, or the
 * connection lost. Rules:
 *
 * @since 0.1.0
 */
export * as AccessLog from "./AccessLog.js"

/**
 * Authentication: who has sent a request, by backends that are Layers, as a service of your own type.
 *
 * @since 0.1.0
 */
export * as Authentication from "./Authentication.js"

/**
 * Authorization: what a principal may do, by scope, role, permission or a rule of your own.
 *
 * @since 0.1.0
 */
export * as Authorization from "./Authorization.js"

/**
 * Refuses request bodies that are too large, before or while they are read.
 *
 * @since 0.1.0
 */
export * as BodyLimit from "./BodyLimit.js"

/**
 * Compresses what goes back: gzip, Brotli, zstd, deflate, as the client asks for by `Accept-Encoding`.
 *
 * @since 0.1.0
 */
export * as Compression from "./Compression.js"

/**
 * Limits how many requests are worked on at once, and refuses at once what would only wait.
 *
 * @since 0.1.0
 */
export * as ConcurrencyLimit from "./ConcurrencyLimit.js"

/**
 * Answers conditional requests (RFC 9110 section 13): a client that has the current version is not sent it again, and one that
 * has not seen it does not overwrite it.
 *
 * @since 0.1.0
 */
export * as Conditional from "./Conditional.js"

/**
 * Minimal attributes of every cookie that leaves, whoever has set it: Secure, HttpOnly and SameSite, and what browsers ask
 * of a cookie before they keep it (RFC 6265bis).
 *
 * @since 0.1.0
 */
export * as Cookies from "./Cookies.js"

/**
 * Says which other origins may read the responses, and answers the preflights of browsers.
 *
 * @since 0.1.0
 */
export * as Cors from "./Cors.js"

/**
 * Refuses what a page of another site has a browser do: cross-site request forgery.
 *
 * @since 0.1.0
 */
export * as Csrf from "./Csrf.js"

/**
 * What a developer sees of a failure: the cause with the source around it, spans, logs, the request and the stack.
 *
 * @since 0.1.0
 */
export * as DebugPage from "./DebugPage.js"

/**
 * Undoes the content codings of request bodies: gzip, Brotli, zstd, deflate. Whoever reads the body, in whatever way, reads
 * what the client has compressed.
 *
 * @since 0.1.0
 */
export * as Decompression from "./Decompression.js"

/**
 * The parts of `Stack.site` and `Stack.api` that need not be said: what almost every server has.
 *
 * @since 0.1.0
 */
export * as Defaults from "./Defaults.js"

/**
 * Randomness for plain phases, which have no Effect to ask, injected so that
 * tests can fix it.
 *
 * @since 0.1.0
 */
export * as Entropy from "./Entropy.js"

/**
 * Who is told of what went wrong: an error tracker, a metric, a trace.
 *
 * @since 0.1.0
 */
export * as ErrorReporter from "./ErrorReporter.js"

/**
 * Turns failures into responses, and says so in the type: what is handled is gone from the error channel, what is not
 * stays.
 *
 * @since 0.1.0
 */
export * as ExceptionHandlers from "./ExceptionHandlers.js"

/**
 * Who the client is: its address, the scheme and the host it used, seen through the proxies you name.
 *
 * @since 0.1.0
 */
export * as Forwarded from "./Forwarded.js"

/**
 * Header fields that every response has, or has not, and those that a handler is to see: set, append, remove, propagate.
 *
 * @since 0.1.0
 */
export * as Headers from "./Headers.js"

/**
 * Tells an orchestrator or a load balancer whether the process is alive and whether it is ready for requests.
 *
 * @since 0.1.0
 */
export * as HealthCheck from "./HealthCheck.js"

/**
 * Has browsers come by https alone, for as long as you say: HTTP Strict Transport Security (RFC 6797).
 *
 * @since 0.1.0
 */
export * as Hsts from "./Hsts.js"

/**
 * Failures that are an HTTP status: `yield* HttpException.notFound({ detail: "There is no such note" })` ends a handler
 * with that answer, wherever it stands.
 *
 * @since 0.1.0
 */
export * as HttpException from "./HttpException.js"

/**
 * Sends clients that come by plain http to https.
 *
 * @since 0.1.0
 */
export * as HttpsRedirect from "./HttpsRedirect.js"

/**
 * Has what a client sends twice done once: by the `Idempotency-Key` of the request
 * (draft-ietf-httpapi-idempotency-key-header-07), which a client makes for what it wants and sends again when it tries again.
 *
 * @since 0.1.0
 */
export * as Idempotency from "./Idempotency.js"

/**
 * Where idempotency keys and the answers to them are kept: the port, and what stands behind it in memory and in Redis.
 *
 * @since 0.1.0
 */
export * as IdempotencyStore from "./IdempotencyStore.js"

/**
 * Lets requests in, or keeps them out, by the address of the client.
 *
 * @since 0.1.0
 */
export * as IpRestriction from "./IpRestriction.js"

/**
 * Secrets that can be rotated: what they sign or seal can be read back by this server alone, and by no other part of it.
 *
 * @since 0.1.0
 */
export * as Keyring from "./Keyring.js"

/**
 * Closes an app for a while, and opens it again, without another release: 503, and when to come back.
 *
 * @since 0.1.0
 */
export * as Maintenance from "./Maintenance.js"

/**
 * Takes a `POST` for the method that it says it is: for forms, which know `GET` and `POST` alone, and for clients whose
 * proxies let nothing else through.
 *
 * @since 0.1.0
 */
export * as MethodOverride from "./MethodOverride.js"

/**
 * Measures what a server does: durations, sizes, requests in flight and refusals, as Effect metrics under the names of
 * OpenTelemetry's conventions for HTTP servers.
 *
 * @since 0.1.0
 */
export * as Metrics from "./Metrics.js"

/**
 * What a middleware is: an `HttpMiddleware` that says in its type what it gives
 * to the handlers inside it, how it can refuse, what it runs on and which
 * failures it turns into responses; and the constructors and conditions to make
 * one.
 *
 * @since 0.1.0
 */
export * as Middleware from "./Middleware.js"

/**
 * Passwords: hashed so that who reads the database cannot read them, and verified so that nobody learns who has an account.
 *
 * @since 0.1.0
 */
export * as PasswordHash from "./PasswordHash.js"

/**
 * The body of every refusal: problem details for HTTP APIs (RFC 9457), in the form that the client asks for.
 *
 * @since 0.1.0
 */
export * as ProblemDetails from "./ProblemDetails.js"

/**
 * Limits how much a client, a user or a key may ask for in a time.
 *
 * @since 0.1.0
 */
export * as RateLimit from "./RateLimit.js"

/**
 * Where the spending of a rate limit is kept: the port, and what stands behind it in memory and in Redis.
 *
 * @since 0.1.0
 */
export * as RateLimitStore from "./RateLimitStore.js"

/**
 * The port to Redis of every store that is kept there: one command, or one Lua script, about one key.
 *
 * @since 0.1.0
 */
export * as Redis from "./Redis.js"

/**
 * Gives every request an identifier: a service for handlers, a response header,
 * an annotation of every log line, an attribute of the current span, and a header
 * of the requests that your server sends on.
 *
 * @since 0.1.0
 */
export * as RequestId from "./RequestId.js"

/**
 * Keeps responses, and gives them to who asks next: a shared cache (RFC 9111) in front of what is inside it. A hit enters neither
 * router nor handler.
 *
 * @since 0.1.0
 */
export * as ResponseCache from "./ResponseCache.js"

/**
 * Where stored responses are kept: the port, and what stands behind it in memory and in Redis.
 *
 * @since 0.1.0
 */
export * as ResponseCacheStore from "./ResponseCacheStore.js"

/**
 * The response on its way out, open for edits: what a `response` phase receives.
 *
 * @since 0.1.0
 */
export * as ResponseDraft from "./ResponseDraft.js"

/**
 * Header fields that tell a browser what a page may do, and who may do what with it: Content-Security-Policy and the
 * others that helmet has made known.
 *
 * @since 0.1.0
 */
export * as SecurityHeaders from "./SecurityHeaders.js"

/**
 * The outermost layer: answers what nobody has answered, and tells of it once.
 *
 * @since 0.1.0
 */
export * as ServerErrors from "./ServerErrors.js"

/**
 * Tells the client how long an answer took, and of what that was made: `Server-Timing`, and `X-Process-Time`.
 *
 * @since 0.1.0
 */
export * as ServerTiming from "./ServerTiming.js"

/**
 * Sessions: what a server remembers of a browser between requests, typed by a schema. In a cookie that is signed or
 * encrypted, or in a store.
 *
 * @since 0.1.0
 */
export * as Session from "./Session.js"

/**
 * Where sessions are kept: the port, and what stands behind it in memory.
 *
 * @since 0.1.0
 */
export * as SessionStore from "./SessionStore.js"

/**
 * An ordered stack of middlewares as one value: written outermost first, checked
 * by the compiler, printed, edited by name, and mounted anywhere.
 *
 * @since 0.1.0
 */
export * as Stack from "./Stack.js"

/**
 * Where the time of a request goes, layer by layer: a stack that tells of itself.
 *
 * @since 0.1.0
 */
export * as Telemetry from "./Telemetry.js"

/**
 * What tests need of an app and of a middleware: a client without a socket, the laws that every middleware keeps, and
 * attacks on it. It depends on no test runner.
 *
 * @since 0.1.0
 */
export * as Testing from "./Testing.js"

/**
 * Ends what takes too long: a handler that does not answer, a body that does not come to its end.
 *
 * @since 0.1.0
 */
export * as Timeout from "./Timeout.js"

/**
 * Token introspection (RFC 7662): bearer tokens that say nothing themselves, by asking the authorization server.
 *
 * @since 0.1.0
 */
export * as TokenIntrospection from "./TokenIntrospection.js"

/**
 * Refuses requests that are not for one of your hosts.
 *
 * @since 0.1.0
 */
export * as TrustedHost from "./TrustedHost.js"

/**
 * Checks fields, query and content type of a request before the handler, and hands over what a schema makes of them.
 *
 * @since 0.1.0
 */
export * as Validate from "./Validate.js"

/**
 * WebSockets: who may open one, and what its end says.
 *
 * @since 0.1.0
 */
export * as WebSocket from "./WebSocket.js"
