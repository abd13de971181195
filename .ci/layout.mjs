// What the linter, the barrel and the package test know alike of the layout of src.
import * as Fs from "node:fs"
import * as Path from "node:path"

export const root = Path.resolve(import.meta.dirname, "..")

/** Packages a user may not have. Only drivers may import them. */
export const optionalPeers = [
  "@effect/experimental",
  "@effect/platform-node",
  "@effect/sql",
  "@node-rs/argon2",
  "ioredis",
  "jose",
  "redis"
]

/** Modules that need an optional peer, and with them the internal ones that only they import. Those in a folder, such as Redis/Ioredis, are drivers too. */
export const topLevelDrivers = ["NodeServer", "internal/nodeServerRequest"]

/** Modules that may know fiber internals, pre-response handlers and the platform's markers. */
export const kernel = ["internal/failures", "internal/kernel", "internal/nodeHandler", "internal/routes", "NodeServer"]

/** Modules of internal/ that are no plain code: two public ones share what they do with Effect. */
export const shared = [
  "internal/answers",
  "internal/bufferedBody",
  "internal/cacheBodies",
  "internal/flights",
  "internal/laws",
  "internal/lift",
  "internal/recode",
  "internal/redisClient",
  "internal/nodeServerRequest",
  "internal/notModified",
  "internal/report",
  "internal/requestBody",
  "internal/responseCache",
  "internal/session",
  "internal/sessionErrors"
]

/** @param {string} module such as "Cors" or "Redis/Ioredis" */
export const isDriver = (module) => module.includes("/") || topLevelDrivers.includes(module)

/** Every public module of src, without its extension. */
export const modules = (folder = Path.join(root, "src")) =>
  Fs.readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((file) => file.split(Path.sep).join("/"))
    .filter((file) => file.endsWith(".ts") && !file.startsWith("internal/") && file !== "index.ts")
    .map((file) => file.slice(0, -".ts".length))
    .sort()
