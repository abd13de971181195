/** Redis as the tests of stores need it: a server, Sentinel and a Cluster, by both clients. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import type { Redis } from "effect-middleware"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as NodeRedis from "effect-middleware/Redis/NodeRedis"
import { describeRedis } from "./describeRedis.js"
import { makeCluster, makeSentinel, makeServer, type Node } from "./redis.js"

/** On a machine that does other things as well, many that ask at once wait for each other. */
export const patient: Redis.Options = { commandTimeout: "30 seconds" }

/** What is started once for a group of tests. */
export const started = <A>(make: Effect.Effect<A, never, Scope.Scope>) => {
  const scope = Effect.runSync(Scope.make())
  let value: A | undefined
  beforeAll(async () => void (value = await Effect.runPromise(Scope.extend(make, scope))), 60_000)
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)), 60_000)
  return Effect.sync(() => value ?? assert.fail("it has not started"))
}

const host = "127.0.0.1"
const addresses = (nodes: ReadonlyArray<Node>) => nodes.map(({ port }) => ({ host, port }))

export interface Suites {
  /** The tests by one client, of which the second adds little to what the first has shown. */
  readonly suite: (name: string, redis: Layer.Layer<Redis.Redis>, isFirst: boolean) => void
  /** More keys than so many are left behind, each with an expiry. */
  readonly keys: number
}

/** The same suite on each kind of Redis, by each client. */
export const inRedis = (name: string, { keys: least, suite }: Suites) => {
  const group = <A>(
    name: string,
    make: Effect.Effect<A, never, Scope.Scope>,
    nodesOf: (server: A) => ReadonlyArray<Node>,
    clients: ReadonlyArray<readonly [name: string, layer: (server: A) => Layer.Layer<Redis.Redis>]>
  ) =>
    describe(name, () => {
      const server = started(make)
      for (const [i, [client, layer]] of clients.entries()) {
        suite(`by ${client}`, Layer.unwrapEffect(Effect.map(server, layer)), i === 0)
      }

      it.live("leaves no key without an expiry", () =>
        Effect.gen(function*() {
          let keys = 0
          for (const node of nodesOf(yield* server)) {
            // a line for each database: db0:keys=12,expires=12,avg_ttl=0
            const lines = String(yield* node.command("INFO", "keyspace")).matchAll(/keys=(\d+),expires=(\d+)/g)
            for (const [, all, expiring] of lines) {
              assert.strictEqual(expiring, all)
              keys += Number(all)
            }
          }
          assert.isAbove(keys, least)
        }))
    })

  describeRedis(name, () => {
    group("a server", makeServer(), (node) => [node], [
      ["ioredis", ({ url }) => Ioredis.layer(url, patient)],
      ["node-redis", ({ url }) => NodeRedis.layer(url, patient)]
    ])

    group("Sentinel", makeSentinel(), ({ nodes }) => nodes, [
      ["ioredis", ({ name, sentinels }) => Ioredis.layerSentinel({ name, sentinels: addresses(sentinels) }, patient)],
      [
        "node-redis",
        ({ name, sentinels }) => NodeRedis.layerSentinel({ name, sentinelRootNodes: addresses(sentinels) }, patient)
      ]
    ])

    group("a Cluster", makeCluster(), ({ nodes }) => nodes, [
      ["ioredis", ({ nodes }) => Ioredis.layerCluster({ nodes: addresses(nodes) }, patient)],
      ["node-redis", ({ nodes }) => NodeRedis.layerCluster({ rootNodes: nodes.map(({ url }) => ({ url })) }, patient)]
    ])
  })
}
