import { Config, type ConfigError, type Layer } from "effect"
import type { Redis } from "effect-middleware"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as Client from "ioredis"
import * as Six from "ioredis-6"
import { typeOf } from "./fixtures.js"

const options: Redis.Options = { commandTimeout: "1 second", maxPending: 10 }

const connection: Ioredis.Connection = { host: "localhost", username: "user", password: "password", db: 1, tls: {} }
typeOf(Ioredis.layer("redis://localhost")).is<Layer.Layer<Redis.Redis>>()
typeOf(Ioredis.layer(connection, options)).is<Layer.Layer<Redis.Redis>>()
// @ts-expect-error how it reconnects is what the module is for
Ioredis.layer({ retryStrategy: () => 1 })
// @ts-expect-error commands do not wait for a connection
Ioredis.layer({ enableOfflineQueue: true })

typeOf(Ioredis.layerConfig(Config.redacted("REDIS_URL"), options))
  .is<Layer.Layer<Redis.Redis, ConfigError.ConfigError>>()
// @ts-expect-error a URL has a password
Ioredis.layerConfig(Config.string("REDIS_URL"))

const sentinel: Ioredis.SentinelConnection = { name: "primary", sentinels: [{ host: "localhost", port: 26379 }], db: 1 }
typeOf(Ioredis.layerSentinel(sentinel, options)).is<Layer.Layer<Redis.Redis>>()
// @ts-expect-error the Sentinels have a name for it
Ioredis.layerSentinel({ sentinels: [] })

const cluster: Ioredis.ClusterConnection = { nodes: ["localhost"], redisOptions: { password: "password", tls: {} } }
typeOf(Ioredis.layerCluster(cluster, options)).is<Layer.Layer<Redis.Redis>>()
// @ts-expect-error a replica may be behind
Ioredis.layerCluster({ nodes: [], scaleReads: "slave" })

typeOf(Ioredis.layerClient(new Client.Redis({ lazyConnect: true }), options)).is<Layer.Layer<Redis.Redis>>()
Ioredis.layerClient(new Client.Cluster([], { lazyConnect: true }))
Ioredis.layerClient(new Six.Redis({ lazyConnect: true }))
Ioredis.layerClient(new Six.Cluster([], { lazyConnect: true }))
