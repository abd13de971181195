import type { Variant } from "./work.js"

export interface Contestant {
  readonly name: string
  readonly is: string
  /** Packages whose versions matter. */
  readonly packages: ReadonlyArray<string>
}

export const contestants = [
  {
    name: "raw",
    is: "`node:http` and `node:zlib`, by hand, in one function; `ioredis`",
    packages: ["ioredis"]
  },
  {
    name: "ours",
    is: "this package, on platform's Node server; `ioredis`",
    packages: ["effect", "@effect/platform", "@effect/platform-node", "ioredis"]
  },
  {
    name: "ours-platform",
    is: "the same on platform's Node server",
    packages: ["effect", "@effect/platform", "@effect/platform-node", "ioredis"]
  },
  {
    name: "effect",
    is: "the same application with `HttpMiddleware.make` and `Effect.gen` a concern, and platform's `cors`; `ioredis`",
    packages: ["effect", "@effect/platform", "@effect/platform-node", "ioredis"]
  },
  {
    name: "fastify",
    is:
      "hooks, response schemas, `@fastify/cors`, `@fastify/compress`; `fast-jwt`, with its cache; `@fastify/rate-limit`",
    packages: ["fastify", "@fastify/cors", "@fastify/compress", "fast-jwt", "@fastify/rate-limit", "ioredis"]
  },
  {
    name: "hono",
    is: "its own `timing`, `request-id`, `cors`, `compress` and `jwt`; `rate-limiter-flexible`",
    packages: ["hono", "@hono/node-server", "rate-limiter-flexible", "ioredis"]
  },
  {
    name: "koa",
    is: "`@koa/router`, `@koa/cors`; `jsonwebtoken`; `rate-limiter-flexible`",
    packages: ["koa", "@koa/router", "@koa/cors", "jsonwebtoken", "rate-limiter-flexible", "ioredis"]
  },
  {
    name: "express",
    is:
      "without ETag and `X-Powered-By`; `cors`, `compression`; `jsonwebtoken`; `express-rate-limit`, and `rate-limiter-flexible` in Redis",
    packages: [
      "express",
      "cors",
      "compression",
      "jsonwebtoken",
      "express-rate-limit",
      "rate-limiter-flexible",
      "ioredis"
    ]
  },
  {
    name: "starlette",
    is:
      "its own `TrustedHostMiddleware`, `CORSMiddleware` and `GZipMiddleware`, PyJWT, all else as plain ASGI, on uvicorn with uvloop and httptools",
    packages: []
  }
] as const satisfies ReadonlyArray<Contestant>

export type Name = typeof contestants[number]["name"]

/** What a module of `apps/` exports. */
export interface App {
  /** Resolves to the port. */
  readonly start: (variant: Variant) => Promise<number>
}
