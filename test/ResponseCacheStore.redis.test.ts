/** Stored responses in Redis: a server, Sentinel and a Cluster, by both clients. */
import { Layer } from "effect"
import { ResponseCacheStore } from "effect-middleware"
import { suite } from "./contracts/ResponseCacheStoreContract.js"
import { inRedis } from "./utils/redisStores.js"

inRedis("ResponseCacheStore in Redis", {
  keys: 50,
  suite: (name, redis, isFirst) =>
    suite(name, ResponseCacheStore.layerRedis({ timeout: "30 seconds" }).pipe(Layer.provide(redis)), {
      timeout: 120_000,
      traces: isFirst ? 20 : 4
    })
})
