/**
 * `Redis` by `redis`, which is node-redis, version 6: a single server, Sentinel or Cluster.
 *
 * 1. The connection is opened with the layer and closed with its scope. The layer waits a second at most for it: a server
 *    starts without its Redis, and has it as soon as it is there.
 * 2. A lost connection is opened again for ever, after 25 to 50 milliseconds at first and 1 to 2 seconds at most.
 * 3. While there is none, commands fail at once. What was under way when one was lost fails, and is not sent again.
 * 4. A connection that leaves a command unanswered for five seconds is given up.
 * 5. In a Cluster, commands go to the primary of their key and follow MOVED and ASK.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Client from "redis"
import { firstConnection, makeTools, silence, type Tools, urlConfig } from "../internal/redisClient.js"
import * as Redis from "../Redis.js"

type Ours = "commandOptions" | "disableOfflineQueue" | "keyPrefix" | "RESP"

/**
 * What `createClient` takes, but for what this module decides.
 *
 * @since 0.1.0
 * @category models
 */
export interface Connection extends Omit<Client.RedisClientOptions, Ours> {}

/**
 * What `createSentinel` takes and this module needs.
 *
 * @since 0.1.0
 * @category models
 */
export interface SentinelConnection {
  readonly sentinelRootNodes: Client.RedisSentinelOptions["sentinelRootNodes"]
  /** What the Sentinels call the primary. */
  readonly name: string
  /** For the connection to the primary: username, password, database, TLS. */
  readonly nodeClientOptions?: Omit<Connection, "url"> | undefined
  /** For the connections to the Sentinels. */
  readonly sentinelClientOptions?: Omit<Connection, "url"> | undefined
}

/**
 * What `createCluster` takes, but for what this module decides.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClusterConnection
  extends Omit<Client.RedisClusterOptions, Ours | "defaults" | "minimizeConnections" | "useReplicas">
{
  /** For the connection to every node: username, password, TLS. */
  readonly defaults?: Omit<Connection, "url"> | undefined
}

/**
 * One server, by its URL or by the options of `redis`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (connection: string | Connection, options?: Redis.Options): Layer.Layer<Redis.Redis> => {
  const own = typeof connection === "string" ? { url: connection } : connection
  return scoped((events) => single(own, events), options)
}

/**
 * One server, by a URL from the configuration, such as `redis://user:password@host:6379/0`, or `rediss://` for TLS.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  url: Config.Config<Redacted.Redacted>,
  options?: Redis.Options
): Layer.Layer<Redis.Redis, ConfigError.ConfigError> =>
  Layer.unwrapEffect(Effect.map(urlConfig(url), (url) => layer(url, options)))

/**
 * The primary that the Sentinels name, and after a failover the next one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSentinel = (connection: SentinelConnection, options?: Redis.Options): Layer.Layer<Redis.Redis> =>
  scoped((events) => {
    let client: Session | undefined
    let closed = false
    const become = (session: Session) => {
      if (closed) throw new Client.ClientClosedError()
      return client = session
    }
    return {
      connect: async () => {
        const socket = await findPrimary(connection, events, become)
        const { nodeClientOptions } = connection
        const options = { ...nodeClientOptions, socket: { ...nodeClientOptions?.socket, ...socket } }
        await become(single(options, events)).connect()
      },
      send: (key, command) => client?.send(key, command) ?? offline(),
      close: () => {
        closed = true
        client?.close()
      }
    }
  }, options)

/**
 * The primaries of a Cluster.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerCluster = (connection: ClusterConnection, options?: Redis.Options): Layer.Layer<Redis.Redis> =>
  scoped(({ lost, tools }) => {
    const cluster = Client.createCluster({
      topologyRefreshOnReconnectionAttemptStrategy: 100,
      ...connection,
      ...replies,
      // nodes are connected to when they are needed: one that is down keeps nobody from the others
      minimizeConnections: true,
      defaults: {
        ...connection.defaults,
        disableOfflineQueue: true,
        socket: {
          ...connection.defaults?.socket,
          reconnectStrategy: (retries, cause) =>
            retries === 0 && isUnreachable(cause)
              ? false
              // every attempt also looks for who has taken over
              : Math.min(500, tools.delay(retries + 1))
        }
      }
    })
    cluster.on("error", tools.report).on("node-error", tools.report)
    return {
      connect: () => cluster.connect(),
      send: (key, command) =>
        cluster.sendCommand(key, false, [...command]).catch((error: unknown) => {
          // nobody looks for the replica that has taken over from a node which there never was a connection to
          if (isUnreachable(error)) lost()
          throw error
        }),
      close: () => cluster.destroy()
    }
  }, options)

/**
 * A client of your own, which is neither configured nor closed here: what it does without a connection is up to its options.
 * For Sentinel and Cluster, `Redis.make` takes what sends a command.
 *
 * @example
 * ```ts
 * import { Redis } from "effect-middleware"
 * import { Layer } from "effect"
 * import { createCluster } from "redis"
 *
 * const cluster = createCluster({ rootNodes: [{ url: "redis://127.0.0.1:7000" }] })
 *
 * const layer = Layer.sync(Redis.Redis, () =>
 *   Redis.make((key, command) => cluster.sendCommand(key, false, [...command]))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  client: { readonly sendCommand: (args: Array<string>) => Promise<unknown> },
  options?: Redis.Options
): Layer.Layer<Redis.Redis> =>
  Layer.sync(Redis.Redis, () => Redis.make((_, command) => client.sendCommand([...command]), { ...options, isReply }))

const offline = () => Promise.reject(new Client.ClientOfflineError())

const isReply = (error: unknown): boolean => error instanceof Client.ErrorReply

/** Strings, numbers, null and arrays; and no timer for every command, since ours is the one that counts. */
const replies = { RESP: 2, commandOptions: { timeout: 0 } } as const

/** From opening a client until it is lost. */
interface Session {
  readonly connect: () => Promise<unknown>
  readonly send: (key: string, command: Redis.Command) => Promise<unknown>
  readonly close: () => void
}

interface Events {
  readonly lost: () => void
  readonly tools: Tools
}

const single = (connection: Connection, { lost, tools }: Events): Session => {
  const client = Client.createClient({
    ...connection,
    ...replies,
    disableOfflineQueue: true,
    maintNotifications: "disabled",
    socket: { ...connection.socket, reconnectStrategy: false }
  })
  client.on("error", tools.report).on("terminated", lost)
  return {
    connect: () => client.connect(),
    send: (_, command) =>
      client.sendCommand([...command]).catch((error: unknown) => {
        // a primary that was demoted: the next connection may find the one that was promoted
        if (error instanceof Client.ErrorReply && error.message.startsWith("READONLY")) lost()
        throw error
      }),
    close: () => client.destroy()
  }
}

/** The first answer of a Sentinel. `become` is told of every client, so that closing reaches it. */
const findPrimary = async (
  { name, sentinelClientOptions, sentinelRootNodes }: SentinelConnection,
  { tools }: Events,
  become: (session: Session) => Session
): Promise<{ readonly host: string; readonly port: number }> => {
  for (const { host, port } of sentinelRootNodes) {
    const socket = { ...sentinelClientOptions?.socket, host, port }
    const sentinel = become(single({ ...sentinelClientOptions, socket }, { lost: () => {}, tools }))
    // one that does not answer must not keep the others from being asked
    const timer = setTimeout(sentinel.close, 1000)
    try {
      await sentinel.connect()
      const address = await sentinel.send(name, ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name])
      if (Array.isArray(address)) return { host: String(address[0]), port: Number(address[1]) }
    } catch (error) {
      tools.report(error)
    } finally {
      clearTimeout(timer)
      sentinel.close()
    }
  }
  throw new Error("No Sentinel knows the primary")
}

/** There was no connection yet, and none could be opened. */
const isUnreachable = (error: unknown): boolean =>
  error instanceof Client.ConnectionTimeoutError ||
  (error instanceof Error && "syscall" in error && (error.syscall === "connect" || error.syscall === "getaddrinfo"))

/** One session after the other: the next begins when one is lost, and is waited for the longer the more often that fails. */
const scoped = (begin: (events: Events) => Session, options: Redis.Options | undefined) =>
  Layer.scoped(
    Redis.Redis,
    Effect.gen(function*() {
      const tools = yield* makeTools
      const connected = yield* Deferred.make<void>()
      let current: Session | undefined
      let attempt = 0

      // the second in which each command under way began, oldest first
      const waiting = new Map<object, number>()
      let second = 0
      const silent = Effect.sleep("1 second").pipe(
        Effect.map(() => {
          second++
          const [oldest = second] = waiting.values()
          return (second - oldest) * 1000 > silence
        }),
        Effect.repeat({ until: (silent) => silent })
      )

      const session = Effect.gen(function*() {
        const lost = yield* Deferred.make<void>()
        const session = yield* Effect.acquireRelease(
          Effect.sync(() => begin({ tools, lost: () => Deferred.unsafeDone(lost, Exit.void) })),
          (session) =>
            Effect.sync(() => {
              current = undefined
              waiting.clear()
              session.close()
            })
        )
        yield* Effect.tryPromise({ try: () => session.connect(), catch: (error) => error })
        const began = yield* Clock.currentTimeMillis
        current = session
        yield* Deferred.succeed(connected, undefined)
        yield* Effect.raceFirst(Deferred.await(lost), silent)
        // one that did not last is not the end of trying
        if ((yield* Clock.currentTimeMillis) - began > silence) attempt = 0
      })
      yield* Effect.scoped(session).pipe(
        Effect.catchAll((error) => Effect.sync(() => tools.report(error))),
        Effect.zipRight(Effect.suspend(() => Effect.sleep(tools.delay(++attempt)))),
        Effect.forever,
        Effect.forkScoped
      )
      yield* Effect.timeoutOption(Deferred.await(connected), firstConnection)

      return Redis.make(async (key, command) => {
        if (current === undefined) return offline()
        const entry = {}
        waiting.set(entry, second)
        try {
          return await current.send(key, command)
        } finally {
          waiting.delete(entry)
        }
      }, { ...options, isReply })
    })
  )
