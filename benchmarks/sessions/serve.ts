/**
 * The process of one server: writes its port to descriptor 3, and serves until it is killed. Redis is at `REDIS_URL`.
 *
 *     node serve.js <name> <variant>
 */
import * as Fs from "node:fs"
import type { App, Name } from "./contestants.js"
import type { Variant } from "./work.js"

const apps: Record<Name, () => Promise<App>> = {
  raw: () => import("./apps/raw.js"),
  ours: () => import("./apps/ours.js"),
  "cookie-session": () => import("./apps/cookieSession.js"),
  "iron-session": () => import("./apps/ironSession.js"),
  "secure-session": () => import("./apps/secureSession.js"),
  "express-session": () => import("./apps/expressSession.js"),
  "fastify-session": () => import("./apps/fastifySession.js")
}

const [name, variant] = process.argv.slice(2) as [Name, Variant]
const { start } = await apps[name]()
Fs.writeSync(3, `${await start(variant)}\n`)
