import { Config, type ConfigError, type Layer } from "effect"
import { Redis } from "effect-middleware"
import * as NodeRedis from "effect-middleware/Redis/NodeRedis"
import type { createSentinel } from "redis"
import { createClient, createCluster } from "redis"
import { typeOf } from "./fixtures.js"

const options: Redis.Options = { commandTimeout: "1 second", maxPending: 10 }

const connection: NodeRedis.Connection = {
  url: "redis://localhost",
  username: "user",
  password: "password",
  database: 1
}
typeOf(NodeRedis.layer("redis://localhost")).is<Layer.Layer<Redis.Redis>>()
typeOf(NodeRedis.layer(connection, options)).is<Layer.Layer<Redis.Redis>>()
NodeRedis.layer({ socket: { host: "localhost", tls: true } })
// @ts-expect-error commands do not wait for a connection
NodeRedis.layer({ disableOfflineQueue: false })

typeOf(NodeRedis.layerConfig(Config.redacted("REDIS_URL"), options))
  .is<Layer.Layer<Redis.Redis, ConfigError.ConfigError>>()
// @ts-expect-error a URL has a password
NodeRedis.layerConfig(Config.string("REDIS_URL"))

const sentinel: NodeRedis.SentinelConnection = {
  name: "primary",
  sentinelRootNodes: [{ host: "localhost", port: 26379 }],
  nodeClientOptions: { password: "password", socket: { tls: true } },
  sentinelClientOptions: { password: "other" }
}
typeOf(NodeRedis.layerSentinel(sentinel, options)).is<Layer.Layer<Redis.Redis>>()
// @ts-expect-error the Sentinels have a name for it
NodeRedis.layerSentinel({ sentinelRootNodes: [] })

const cluster: NodeRedis.ClusterConnection = {
  rootNodes: [{ url: "redis://localhost" }],
  defaults: { password: "password" }
}
typeOf(NodeRedis.layerCluster(cluster, options)).is<Layer.Layer<Redis.Redis>>()
// @ts-expect-error a replica may be behind
NodeRedis.layerCluster({ rootNodes: [], useReplicas: true })

typeOf(NodeRedis.layerClient(createClient(), options)).is<Layer.Layer<Redis.Redis>>()
// @ts-expect-error what it takes to send a command differs
NodeRedis.layerClient(createCluster({ rootNodes: [] }))

declare const ownCluster: ReturnType<typeof createCluster>
declare const ownSentinel: ReturnType<typeof createSentinel>
Redis.make((key, command) => ownCluster.sendCommand(key, false, [...command]))
Redis.make((_, command) => ownSentinel.sendCommand(false, [...command]))
