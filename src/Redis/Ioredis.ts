/**
 * `Redis` by `ioredis`, version 5 or 6: a single server, Sentinel or Cluster.
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
import type * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Client from "ioredis"
import { firstConnection, makeTools, silence, type Tools, urlConfig } from "../internal/redisClient.js"
import * as Redis from "../Redis.js"

type Ours =
  | "autoResendUnfulfilledCommands"
  | "enableOfflineQueue"
  | "lazyConnect"
  | "maxRetriesPerRequest"
  | "reconnectOnError"
  | "retryStrategy"
  | "sentinelRetryStrategy"

/**
 * What `ioredis` takes, but for what this module decides.
 *
 * @since 0.1.0
 * @category models
 */
export interface Connection extends Omit<Client.RedisOptions, Ours | "name" | "sentinels"> {}

/**
 * @since 0.1.0
 * @category models
 */
export interface SentinelConnection extends Omit<Client.RedisOptions, Ours | "host" | "path" | "port"> {
  readonly sentinels: NonNullable<Client.RedisOptions["sentinels"]>
  /** What the Sentinels call the primary. */
  readonly name: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ClusterConnection extends
  Omit<
    Client.ClusterOptions,
    | "clusterRetryStrategy"
    | "enableOfflineQueue"
    | "lazyConnect"
    | "redisOptions"
    | "retryDelayOnClusterDown"
    | "retryDelayOnFailover"
    | "scaleReads"
  >
{
  /** Some nodes of the Cluster, by which the others are found. */
  readonly nodes: ReadonlyArray<Client.ClusterNode>
  /** For the connection to every node: username, password, TLS. */
  readonly redisOptions?: Omit<NonNullable<Client.ClusterOptions["redisOptions"]>, Ours> | undefined
}

/**
 * One server, by its URL or by the options of `ioredis`.
 *
 * @example
 * ```ts
 * import * as Ioredis from "effect-middleware/Redis/Ioredis"

const layer = Ioredis.layer({ host: "redis.internal", tls: {} }, { commandTimeout: "100 millis" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (connection: string | Connection, options?: Redis.Options): Layer.Layer<Redis.Redis> => {
  const own = typeof connection === "string" ? {} : connection
  return scoped(
    (tools) =>
      typeof connection === "string"
        ? new Client.Redis(connection, node(tools, own))
        : new Client.Redis(node(tools, own)),
    options
  )
}

/**
 * One server, by a URL from the configuration, such as `redis://user:password@host:6379/0`, or `rediss://` for TLS.
 *
 * @example
 * ```ts
 * import * as Ioredis from "effect-middleware/Redis/Ioredis"
 * import { Config } from "effect"
 *
 * const layer = Ioredis.layerConfig(Config.redacted("REDIS_URL"))
 * ```
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
 * @example
 * ```ts
 * import * as Ioredis from "effect-middleware/Redis/Ioredis"
 *
 * const layer = Ioredis.layerSentinel({
 *   name: "primary",
 *   sentinels: [{ host: "sentinel-1", port: 26379 }, { host: "sentinel-2", port: 26379 }]
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSentinel = (connection: SentinelConnection, options?: Redis.Options): Layer.Layer<Redis.Redis> =>
  scoped((tools) =>
    new Client.Redis({
      // a Sentinel that does not answer must not keep the others from being asked
      sentinelCommandTimeout: 1000,
      ...node(tools, connection),
      sentinelRetryStrategy: tools.delay
    }), options)

/**
 * The primaries of a Cluster.
 *
 * @example
 * ```ts
 * import * as Ioredis from "effect-middleware/Redis/Ioredis"
 *
 * const layer = Ioredis.layerCluster({ nodes: [{ host: "redis-1" }, { host: "redis-2" }] })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerCluster = (
  { nodes, redisOptions, ...connection }: ClusterConnection,
  options?: Redis.Options
): Layer.Layer<Redis.Redis> =>
  scoped((tools) =>
    new Client.Cluster([...nodes], {
      ...connection,
      clusterRetryStrategy: tools.delay,
      // nothing is sent again of which it is unknown whether it was executed, or waits to be
      retryDelayOnClusterDown: 0,
      retryDelayOnFailover: 0,
      redisOptions: node(tools, redisOptions ?? {})
    }), options)

/**
 * A client of your own, `Redis` or `Cluster`, which is neither configured nor closed here: what it does without a connection
 * is up to its options.
 *
 * @example
 * ```ts
 * import * as Ioredis from "effect-middleware/Redis/Ioredis"
 * import { Redis } from "ioredis"
 *
 * const layer = Ioredis.layerClient(new Redis({ enableOfflineQueue: false, maxRetriesPerRequest: 0 }))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  client: { readonly call: (command: string, args: Array<string>) => Promise<unknown> },
  options?: Redis.Options
): Layer.Layer<Redis.Redis> => Layer.sync(Redis.Redis, () => make((name, args) => client.call(name, args), options))

type Send = (name: string, args: Array<string>) => Promise<unknown>

const make = (
  send: Send,
  options: Redis.Options | undefined,
  isReady: () => boolean = () => true
) =>
  Redis.make(
    (_, [name, ...args]) => isReady() ? send(name, args) : Promise.reject(new Error("There is no connection")),
    { ...options, isReply: (error) => error instanceof Error && error.name === "ReplyError" }
  )

/**
 * What is sent in one turn leaves by few writes, as a pipeline's does: each is a call of the system, and costs more than the
 * command. The server begins with the first ones while the others are made.
 */
const joining = (client: Client.Redis): Send => {
  let text = ""
  const flush = () => {
    const { stream } = client
    const all = text
    text = ""
    if (all !== "") stream.write(all)
  }
  const pipeline = {
    isPipeline: true as const,
    destination: { redis: client },
    write: (command: string | Buffer) => {
      if (text === "") process.nextTick(flush)
      text += String(command)
      if (text.length >= enough) flush()
    }
  }
  return (name, args) => {
    const { keyPrefix } = client.options
    const command = new Client.Command(name, args, {
      replyEncoding: "utf8",
      ...keyPrefix !== undefined && { keyPrefix }
    })
    client.sendCommand(command, pipeline)
    return command.promise
  }
}
/** Some fifteen scripts. */
const enough = 4096

const node = <A extends object>({ delay }: Tools, options: A) => ({
  connectTimeout: 2000,
  socketTimeout: silence,
  ...options,
  autoResendUnfulfilledCommands: false,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  // a primary that was demoted: the next connection may find the one that was promoted
  reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
  retryStrategy: delay
})

const scoped = (open: (tools: Tools) => Client.Redis | Client.Cluster, options: Redis.Options | undefined) =>
  Layer.scoped(
    Redis.Redis,
    Effect.gen(function*() {
      const tools = yield* makeTools
      const client = yield* Effect.acquireRelease(
        Effect.sync(() => open(tools)),
        (client) => Effect.sync(() => client.disconnect())
      )
      client.on("error", tools.report).on("node error", tools.report).on("close", () => {
        // ioredis 5 has it end the connection after the one that it was for (redis/ioredis#2147)
        clearTimeout(Reflect.get(client, "socketTimeoutTimer"))
        Reflect.set(client, "socketTimeoutTimer", undefined)
      })
      yield* Effect.async<void>((resume) => void client.once("ready", () => resume(Effect.void))).pipe(
        Effect.timeoutOption(firstConnection)
      )
      // a Cluster without its queue would fail what meets a connection to a node while it is being opened
      // the client of a Cluster hides where it writes
      const send: Send = client instanceof Client.Cluster ? (name, args) => client.call(name, args) : joining(client)
      return make(send, options, () => client.status === "ready")
    })
  )
