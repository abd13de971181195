/**
 * Randomness for plain phases, which have no Effect to ask, injected so that
 * tests can fix it.
 *
 * @since 0.1.0
 */
export * as Entropy from "./Entropy.js"

/**
 * Turns typed failures into responses, and says so in the type: what is handled
 * is gone from the error channel, what is not stays.
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
 * What a middleware is: an `HttpMiddleware` that says in its type what it gives
 * to the handlers inside it, how it can refuse, what it runs on and which
 * failures it turns into responses; and the constructors and conditions to make
 * one.
 *
 * @since 0.1.0
 */
export * as Middleware from "./Middleware.js"

/**
 * The body of every refusal: problem details for HTTP APIs (RFC 9457).
 *
 * @since 0.1.0
 */
export * as ProblemDetails from "./ProblemDetails.js"

/**
 * Gives every request an identifier: a service for handlers, a response header,
 * an annotation of every log line, an attribute of the current span, and a header
 * of the requests that your server sends on.
 *
 * @since 0.1.0
 */
export * as RequestId from "./RequestId.js"

/**
 * The response on its way out, open for edits: what a `response` phase receives.
 *
 * @since 0.1.0
 */
export * as ResponseDraft from "./ResponseDraft.js"

/**
 * An ordered stack of middlewares as one value: written outermost first, checked
 * by the compiler, printed, edited by name, and mounted anywhere.
 *
 * @since 0.1.0
 */
export * as Stack from "./Stack.js"

/**
 * Refuses requests that are not for one of your hosts.
 *
 * @since 0.1.0
 */
export * as TrustedHost from "./TrustedHost.js"
