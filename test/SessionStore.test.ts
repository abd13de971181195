import { FileSystem, KeyValueStore } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { SessionStore } from "effect-middleware"
import * as Contract from "./contracts/SessionStoreContract.js"
import { alternating } from "./utils/sessions.js"

Contract.suite("in memory", SessionStore.layerMemory())

Contract.suite("in a KeyValueStore in memory", SessionStore.layerKeyValue().pipe(Layer.provide(KeyValueStore.layerMemory)))

const files = Layer.unwrapScoped(
  Effect.map(
    Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped({ prefix: "effect-middleware-" })),
    KeyValueStore.layerFileSystem
  )
).pipe(Layer.provide(NodeContext.layer))

Contract.suite(
  "in a KeyValueStore of files",
  SessionStore.layerKeyValue({ timeout: "1 minute" }).pipe(Layer.provide(files), Layer.orDie)
)

/** Gives way before each step, as whatever waits for a disk or a network does. */
const yielding = Layer.map(KeyValueStore.layerMemory, (context) => context)

Contract.suite(
  "in a KeyValueStore that two processes share",
  alternating(SessionStore.layerKeyValue()).pipe(Layer.provide(yielding))
)
