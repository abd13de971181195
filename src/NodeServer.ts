/**
 * A Node server for Effect's HTTP apps: the place of `NodeHttpServer.layer` of `@effect/platform-node`, taken in one line.
 * What a stack refuses by plain phases is answered before there is a fiber, and the rest at a fraction of the cost; it is
 * shut down without losing a request.
 *
 * @since 0.1.0
 */
import type * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type * as Etag from "@effect/platform/Etag"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpServer from "@effect/platform/HttpServer"
import { ServeError } from "@effect/platform/HttpServerError"
import * as Socket from "@effect/platform/Socket"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import type * as Http2 from "node:http2"
import type * as Https from "node:https"
import type * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as WS from "ws"
import type { ErasedApp } from "./internal/kernel.js"
import { continueWhenRead } from "./internal/nodeContinue.js"
import * as Handler from "./internal/nodeHandler.js"
import { NodeServerRequest } from "./internal/nodeServerRequest.js"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What Node's `createServer` gives, of `node:http`, `node:https` or `node:http2`.
 *
 * @since 0.1.0
 * @category models
 */
export type Server = Http.Server | Https.Server | Http2.Http2Server | Http2.Http2SecureServer

/**
 * Where it listens, as Node's `listen` takes it, and its limits. A limit that is left out stays as `createServer` has set
 * it, whose own defaults are given here for Node 20 and later.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Net.ListenOptions {
  /** How long a client may take for the header of a request; then it is 408. No longer than `requestTimeout`. Default: 60 seconds. */
  readonly headersTimeout?: Duration.DurationInput | undefined
  /** How long a client may take for a whole request, its content included; then it is 408. Default: 5 minutes. */
  readonly requestTimeout?: Duration.DurationInput | undefined
  /** How long a connection is kept without a request. Behind a proxy: longer than the proxy keeps its own. Default: 5 seconds. */
  readonly keepAliveTimeout?: Duration.DurationInput | undefined
  /** How many fields of a header are read; what comes after them is ignored. Default: 2000. */
  readonly maxHeadersCount?: number | undefined
  /** After so many requests a connection is closed; 0 is no limit. Default: 0. */
  readonly maxRequestsPerSocket?: number | undefined
  /** How many connections there may be; more are closed at once. Default: no limit. */
  readonly maxConnections?: number | undefined
  /** How long a shutdown waits for requests under way. Default: 20 seconds. */
  readonly shutdownTimeout?: Duration.DurationInput | undefined
}

/**
 * It cannot listen. Has the tag `"ServeError"`, as platform's own error, and says what to do.
 *
 * @since 0.1.0
 * @category errors
 */
export class ListenError extends ServeError {
  /** Node's, such as `"EADDRINUSE"`. */
  readonly code: string
  private readonly said: string

  constructor(cause: NodeJS.ErrnoException, options: Net.ListenOptions) {
    super({ cause })
    this.code = cause.code ?? "UNKNOWN"
    const place = options.path ?? `${options.host ?? "*"}:${options.port ?? 0}`
    this.said = `Cannot listen on ${place} (${this.code}): ${remedies[this.code] ?? cause.message}`
  }

  /** @since 0.1.0 */
  override get message(): string {
    return this.said
  }
}

const remedies: { readonly [code: string]: string | undefined } = {
  EADDRINUSE:
    "something listens there already. Stop it, use another port (0 takes a free one), or remove the file of a " +
    "unix socket that nobody listens on any more",
  EADDRNOTAVAIL: "no network interface of this machine has that address. Use one that it has, or 0.0.0.0 or :: for all",
  EACCES: "not allowed. Use a port above 1023, or give the process the right to take it",
  ENOENT: "there is no such folder for a unix socket",
  ENOTFOUND: "the host is unknown. Use an address of this machine"
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The server as a service, listening as long as the scope is open. `layer` is what programs use.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  evaluate: () => Server,
  options: Options
): Effect.Effect<HttpServer.HttpServer, ListenError, Scope.Scope> => {
  const { limits, listening, shutdownTimeout } = settingsOf(options)
  return Effect.gen(function*() {
    const server = evaluate()
    configure(server, limits)
    const wss = new WS.WebSocketServer({ noServer: true })
    const sessions = new Set<Http2.ServerHttp2Session>()
    server.on("session", (session: Http2.ServerHttp2Session) => {
      sessions.add(session)
      session.once("close", () => sessions.delete(session))
    })
    yield* Effect.acquireRelease(listen(server, listening), () => closed(server))
    const found = server.address()!
    const address = typeof found === "string"
      ? { _tag: "UnixAddress", path: found } as const
      : { _tag: "TcpAddress", hostname: found.address === "::" ? "0.0.0.0" : found.address, port: found.port } as const
    // where it listens again for another app, after it has been closed for one
    const again = address._tag === "TcpAddress" ? { ...listening, port: address.port } : listening
    let served = 0

    const start = Effect.suspend(() => {
      server.off("request", late)
      served++
      return server.listening ? Effect.void : Effect.orDie(listen(server, again))
    })

    const stop = (running: Handler.Running): Effect.Effect<void> =>
      Effect.suspend(() => {
        running.draining = true
        const fibers = settled(running)
        if (--served > 0) return fibers
        server.on("request", late)
        for (const session of sessions) session.close()
        for (const client of wss.clients) client.close(1001)
        return Effect.zipRight(closed(server), fibers)
      }).pipe(
        Effect.interruptible,
        Effect.timeoutOption(shutdownTimeout),
        Effect.zipRight(Effect.suspend(() => {
          for (const fiber of running.fibers) fiber.unsafeInterruptAsFork(fiber.id())
          if (served > 0) return Effect.void
          for (const client of wss.clients) client.terminate()
          for (const session of sessions) session.destroy()
          if ("closeAllConnections" in server) server.closeAllConnections()
          return Effect.void
        }))
      )

    return HttpServer.make({
      address,
      serve: (httpApp, middleware) =>
        Effect.gen(function*() {
          const running: Handler.Running = { fibers: new Set(), draining: false }
          const handle = Handler.make({
            // an onion, also where platform's server puts it outside of the response
            app: (middleware === undefined ? httpApp : middleware(httpApp)) as ErasedApp,
            clock: yield* Effect.clock,
            runtime: yield* Effect.runtime<never>(),
            tracer: yield* Effect.tracer,
            running
          })
          const onRequest = (source: Http.IncomingMessage, response: Http.ServerResponse) =>
            handle(new NodeServerRequest(source, response))
          const onContinue = (source: Http.IncomingMessage, response: Http.ServerResponse) => {
            if (source.httpVersionMajor === 1) continueWhenRead(source, response)
            else response.writeContinue()
            onRequest(source, response)
          }
          const onUpgrade = (source: Http.IncomingMessage, socket: Duplex, head: Buffer) =>
            handle(upgradable(wss, source, socket, head))
          yield* Effect.acquireRelease(
            Effect.zipRight(
              start,
              Effect.sync(() => {
                server.on("request", onRequest)
                server.on("checkContinue", onContinue)
                server.on("upgrade", onUpgrade)
              })
            ),
            () =>
              Effect.zipRight(
                Effect.sync(() => {
                  server.off("request", onRequest)
                  server.off("checkContinue", onContinue)
                  server.off("upgrade", onUpgrade)
                }),
                stop(running)
              )
          )
        })
    })
  })
}

/** What comes on a connection that is still there, when there is nobody to answer any more. */
const late = (_: Http.IncomingMessage, response: Http.ServerResponse) => {
  if (response.writableEnded) return
  response.shouldKeepAlive = false
  response.writeHead(503, { "content-length": 0 })
  response.end()
}

const listen = (server: Server, options: Net.ListenOptions): Effect.Effect<void, ListenError> =>
  Effect.async((resume) => {
    const onError = (cause: Error) => resume(Effect.fail(new ListenError(cause, options)))
    server.once("error", onError)
    server.listen(options, () => {
      server.off("error", onError)
      resume(Effect.void)
    })
  })

/** Stops accepting, and waits until the last connection has ended. */
const closed = (server: Server): Effect.Effect<void> =>
  Effect.async((resume) => {
    // what is kept is closed as soon as it is idle
    const idle = setInterval(() => "closeIdleConnections" in server && server.closeIdleConnections(), 50)
    const done = () => {
      clearInterval(idle)
      resume(Effect.void)
    }
    // whatever it says, it does not listen any more
    server.close(done)
    return Effect.sync(() => clearInterval(idle))
  })

const settled = (running: Handler.Running): Effect.Effect<void> =>
  Effect.async((resume) => {
    let left = running.fibers.size
    if (left === 0) return resume(Effect.void)
    for (const fiber of running.fibers) {
      fiber.addObserver(() => {
        if (--left === 0) resume(Effect.void)
      })
    }
  })

/** A request that asks for another protocol, with the response that it has until it is given one. */
const upgradable = (wss: WS.WebSocketServer, source: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
  let isUpgraded = false
  let made: Http.ServerResponse | undefined
  const response = () => {
    if (made !== undefined) return made
    made = new Http.ServerResponse(source)
    if (isUpgraded) return made.end()
    // the connection of a server of Node is one of node:net or node:tls
    made.assignSocket(socket as Net.Socket)
    made.on("finish", () => socket.end())
    return made
  }
  const opened = Effect.async<globalThis.WebSocket>((resume) =>
    wss.handleUpgrade(source, socket, head, (webSocket) => {
      isUpgraded = true
      // the two have in common what platform uses
      resume(Effect.succeed(webSocket as unknown as globalThis.WebSocket))
    })
  )
  const upgrade = Socket.fromWebSocket(
    Effect.acquireRelease(opened, (webSocket) => Effect.sync(() => webSocket.close()))
  )
  return new NodeServerRequest(source, response, upgrade)
}

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

interface Limits {
  [name: string]: number
}

const settingsOf = (options: Options) => {
  const {
    headersTimeout,
    keepAliveTimeout,
    maxConnections,
    maxHeadersCount,
    maxRequestsPerSocket,
    requestTimeout,
    shutdownTimeout,
    ...listening
  } = options
  const limits: Limits = {}
  for (const [name, value] of Object.entries({ headersTimeout, requestTimeout, keepAliveTimeout })) {
    if (value !== undefined) limits[name] = millis(name, value)
  }
  for (const [name, value] of Object.entries({ maxHeadersCount, maxRequestsPerSocket, maxConnections })) {
    if (value === undefined) continue
    if (!Number.isInteger(value) || value < 0) {
      throw new TypeError(`NodeServer: ${name} is ${value}; use a whole number, 0 or more`)
    }
    limits[name] = value
  }
  // for Node 0 is no limit
  if ((limits["headersTimeout"] ?? 0) > (limits["requestTimeout"] || Infinity)) {
    throw new TypeError("NodeServer: headersTimeout is longer than requestTimeout, which includes it; make it shorter")
  }
  return {
    limits,
    listening,
    shutdownTimeout: Duration.millis(millis("shutdownTimeout", shutdownTimeout ?? "20 seconds"))
  }
}

const millis = (name: string, value: Duration.DurationInput): number => {
  const millis = Duration.toMillis(value)
  // Node's timers take no more
  if (!Number.isFinite(millis) || millis > 2_147_483_647) {
    throw new TypeError(`NodeServer: ${name} is longer than Node can wait; use 24 days at most`)
  }
  return millis
}

const configure = (server: Server, limits: Limits) => {
  for (const [name, value] of Object.entries(limits)) {
    if (!(name in server) && name !== "maxConnections") {
      throw new TypeError(`NodeServer: a server of HTTP/2 alone has no ${name}; leave it out, or allowHTTP1`)
    }
    Object.assign(server, { [name]: value })
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** What platform's Node server brings beside itself. */
type Services = HttpServer.HttpServer | HttpPlatform.HttpPlatform | Etag.Generator | NodeContext.NodeContext

/**
 * The server alone, without the services that `layer` brings.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerServer = (
  evaluate: () => Server,
  options: Options
): Layer.Layer<HttpServer.HttpServer, ListenError> => Layer.scoped(HttpServer.HttpServer, make(evaluate, options))

/**
 * Listens as long as the layer is there, in the place of `NodeHttpServer.layer`, with the services that it brings. Options
 * that cannot be are a `TypeError` at once; what cannot be listened on is a `ListenError` when the layer is built.
 *
 * @example
 * ```ts
 * import { HttpServer, HttpServerResponse } from "@effect/platform"
 * import * as NodeServer from "effect-middleware/NodeServer"
 * import { Layer } from "effect"
 * import { createServer } from "node:http"
 *
 * const served = HttpServer.serve(HttpServerResponse.text("hello"))
 * const live = Layer.provide(served, NodeServer.layer(() => createServer(), { port: 3000 }))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (evaluate: () => Server, options: Options): Layer.Layer<Services, ListenError> =>
  Layer.merge(layerServer(evaluate, options), NodeHttpServer.layerContext)

/**
 * The same with options from a `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  evaluate: () => Server,
  options: Config.Config.Wrap<Options>
): Layer.Layer<Services, ConfigError.ConfigError | ListenError> =>
  Layer.merge(
    Layer.scoped(
      HttpServer.HttpServer,
      Effect.flatMap(Config.unwrap(options), (options) => make(evaluate, options))
    ),
    NodeHttpServer.layerContext
  )

/**
 * On a free port, with an `HttpClient` that talks to it, for tests.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest: Layer.Layer<Services | HttpClient.HttpClient, ListenError> = HttpServer.layerTestClient.pipe(
  Layer.provide(NodeHttpClient.layerWithoutAgent),
  Layer.provide(NodeHttpClient.makeAgentLayer({ keepAlive: false })),
  Layer.provideMerge(layer(() => Http.createServer(), { port: 0 }))
)
