/**
 * What tests of an app and of a middleware need: a client without a socket.
 *
 * @since 0.1.0
 */
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"

/**
 * What a client sends.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  /** `GET` unless it says otherwise. */
  readonly method?: string | undefined
  /** A path, or a whole URL, which says scheme and host too: `http://localhost` unless it says otherwise. */
  readonly url?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | Uint8Array<ArrayBuffer> | undefined
}

/**
 * What a client has received, all of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reply {
  readonly status: number
  /** Names in lower case; `Set-Cookie` is in `cookies`. */
  readonly headers: Readonly<Record<string, string>>
  /** The lines of `Set-Cookie`. */
  readonly cookies: ReadonlyArray<string>
  /** The body as sent: what was compressed still is. */
  readonly bytes: Uint8Array
  readonly text: string
}

/**
 * Sends one request. Interrupt it, and the client has gone.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  (request?: Request): Effect.Effect<Reply>
  /** By name: what the app has set, and what is sent with the next request. */
  readonly cookies: Map<string, string>
}

/**
 * A client of an app, without a socket: what it sends goes through platform's web handler, with the clock and the services
 * of the test. It keeps cookies, as a browser does, but for their path, host and `Secure`.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { RequestId, Testing } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const app = HttpServerResponse.text("hello").pipe(RequestId.middleware())
 *
 * export const test = Effect.gen(function*() {
 *   const send = yield* Testing.client(app)
 *   const { headers, text } = yield* send({ url: "/notes", headers: { accept: "text/plain" } })
 *   return [text, headers["x-request-id"]]
 * })
 * ```
 *
 * @since 0.1.0
 * @category clients
 */
export const client = <E, R>(
  app: HttpApp.Default<E, R>
): Effect.Effect<Client, never, Exclude<R, HttpServerRequest.HttpServerRequest | Scope>> =>
  Effect.map(Effect.runtime<Exclude<R, HttpServerRequest.HttpServerRequest | Scope>>(), (runtime) => {
    const handler = HttpApp.toWebHandlerRuntime(runtime)(app as HttpApp.Default<E>)
    const cookies = new Map<string, string>()
    const send = ({ body, headers, method = "GET", url = "/" }: Request = {}) =>
      Effect.promise(async (signal) => {
        const target = new URL(url.startsWith("/") ? `http://localhost${url}` : url)
        const cookie = Array.from(cookies, ([name, value]) => `${name}=${value}`).join("; ")
        const response = await handler(
          new globalThis.Request(target, {
            method,
            headers: { host: target.host, ...(cookie === "" ? {} : { cookie }), ...headers },
            body: body ?? null,
            signal
          })
        )
        const lines = response.headers.getSetCookie()
        for (const line of lines) keep(cookies, line)
        const bytes = new Uint8Array(await response.arrayBuffer())
        return {
          status: response.status,
          headers: Object.fromEntries([...response.headers].filter(([name]) => name !== "set-cookie")),
          cookies: lines,
          bytes,
          text: new TextDecoder().decode(bytes)
        }
      })
    return Object.assign(send, { cookies })
  })

const keep = (cookies: Map<string, string>, line: string) => {
  const [, name = "", value = "", attributes = ""] = /^([^=]*)=([^;]*)(.*)$/s.exec(line) ?? []
  if (/;\s*max-age=(?:0|-)/i.test(attributes) || /;\s*expires=[^;]*\b1970\b/i.test(attributes)) cookies.delete(name)
  else cookies.set(name, value)
}
