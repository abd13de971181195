/**
 * The process of one server: writes its port to descriptor 3, and serves until it is killed.
 *
 *     node serve.js <name> <variant>
 */
import * as Fs from "node:fs"
import type { App, Name } from "./contestants.js"
import type { Variant } from "./work.js"

const apps: Record<Exclude<Name, "starlette">, () => Promise<App>> = {
  raw: () => import("./apps/raw.js"),
  floor: () => import("./apps/floor.js"),
  ours: () => import("./apps/ours.js"),
  "ours-platform": () => import("./apps/oursPlatform.js"),
  effect: () => import("./apps/effect.js"),
  fastify: () => import("./apps/fastify.js"),
  hono: () => import("./apps/hono.js"),
  koa: () => import("./apps/koa.js"),
  express: () => import("./apps/express.js")
}

const [name, variant] = process.argv.slice(2) as [keyof typeof apps, Variant]
const { start } = await apps[name]()
Fs.writeSync(3, `${await start(variant)}\n`)
