import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as NodeRedis from "effect-middleware/Redis/NodeRedis"
import { redisSuite } from "./contracts/RedisContract.js"

redisSuite([
  {
    name: "ioredis",
    single: ({ port }, options) => Ioredis.layer({ port, connectionName: "contract" }, options),
    sentinel: ({ name, sentinels }, options) =>
      Ioredis.layerSentinel({
        name,
        sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
        connectionName: "contract"
      }, options),
    cluster: ({ nodes }, options) =>
      Ioredis.layerCluster({
        nodes: nodes.map(({ port }) => ({ host: "127.0.0.1", port })),
        redisOptions: { connectionName: "contract" }
      }, options)
  },
  {
    name: "node-redis",
    single: ({ url }, options) => NodeRedis.layer({ url, name: "contract" }, options),
    sentinel: ({ name, sentinels }, options) =>
      NodeRedis.layerSentinel({
        name,
        sentinelRootNodes: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
        nodeClientOptions: { name: "contract" }
      }, options),
    cluster: ({ nodes }, options) =>
      NodeRedis.layerCluster({ rootNodes: nodes.map(({ url }) => ({ url })), defaults: { name: "contract" } }, options)
  }
])
