/** Idempotency keys in Redis: a server, Sentinel and a Cluster, by both clients. */
import { Layer } from "effect"
import { IdempotencyStore } from "effect-middleware"
import { suite } from "./contracts/IdempotencyStoreContract.js"
import { inRedis } from "./utils/redisStores.js"

inRedis("IdempotencyStore in Redis", {
  keys: 30,
  suite: (name, redis, isFirst) =>
    suite(name, IdempotencyStore.layerRedis({ timeout: "30 seconds" }).pipe(Layer.provide(redis)), {
      timeout: 120_000,
      traces: isFirst ? 20 : 4
    })
})
