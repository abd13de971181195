import type { Contestant } from "../servers/contestants.js"
import type { Variant } from "./work.js"

interface SessionContestant extends Contestant {
  readonly variants: ReadonlyArray<Variant>
}

export const contestants = [
  {
    name: "raw",
    is: "`node:http` and `node:crypto` by hand, in one function; `redis`",
    packages: ["redis"],
    variants: ["signed", "encrypted", "redis", "any"]
  },
  {
    name: "ours",
    is: "this package, on platform's Node server; in Redis where it may choose",
    packages: ["effect", "@effect/platform", "@effect/platform-node", "redis"],
    variants: ["signed", "encrypted", "redis", "any"]
  },
  {
    name: "cookie-session",
    is: "on Express",
    packages: ["cookie-session", "express"],
    variants: ["signed", "any"]
  },
  {
    name: "iron-session",
    is: "on `node:http`",
    packages: ["iron-session"],
    variants: ["encrypted", "any"]
  },
  {
    name: "secure-session",
    is: "`@fastify/secure-session`, with libsodium, on Fastify",
    packages: ["@fastify/secure-session", "fastify"],
    variants: ["encrypted", "any"]
  },
  {
    name: "express-session",
    is: "on Express, without `resave`, `saveUninitialized` and `rolling`; what `connect-redis` does, on `redis`",
    packages: ["express-session", "express", "redis"],
    variants: ["redis", "any"]
  },
  {
    name: "fastify-session",
    is: "`@fastify/session` on Fastify, without `saveUninitialized` and `rolling`; the same store",
    packages: ["@fastify/session", "@fastify/cookie", "fastify", "redis"],
    variants: ["redis", "any"]
  }
] as const satisfies ReadonlyArray<SessionContestant>

export type Name = typeof contestants[number]["name"]

/** What a module of `apps/` exports. */
export interface App {
  /** Resolves to the port. */
  readonly start: (variant: Variant) => Promise<number>
}
