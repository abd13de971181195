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
    is: "`node:http`, `node:zlib` and `node:crypto`, by hand, in one function; `ioredis`",
    packages: ["ioredis"]
  },
  {
    name: "floor",
    is:
      "the same, but that the handler is an Effect behind platform's router, in a fiber of its own: what no middleware can save; where there is a handler to run",
    packages: ["effect", "@effect/platform"]
  },
  {
    name: "ours",
    is: "this package, on its own Node server; `ioredis`",
    packages: ["effect", "@effect/platform", "@effect/platform-node", "ioredis"]
  },
  {
    name: "ours-platform",
    is: "the same on platform's Node server",
    packages: ["effect", "@effect/platform", "@effect/platform-node", "ioredis"]
  },
  {
    name: "effect",
    is:
      "the same application with `HttpMiddleware.make` and `Effect.gen` a concern, and platform's `cors`; gzip and cookies by hand; `ioredis`",
    packages: ["effect", "@effect/platform", "@effect/platform-node", "ioredis"]
  },
  {
    name: "fastify",
    is:
      "hooks, response schemas, `@fastify/cors`, `@fastify/compress`; `fast-jwt`, with its cache; `@fastify/rate-limit`; cookies signed by `@fastify/cookie`, and `@fastify/session` in Redis",
    packages: [
      "fastify",
      "@fastify/cors",
      "@fastify/compress",
      "fast-jwt",
      "@fastify/rate-limit",
      "@fastify/cookie",
      "@fastify/session",
      "ioredis",
      "redis"
    ]
  },
  {
    name: "hono",
    is:
      "its own `timing`, `request-id`, `secure-headers`, `cors`, `compress`, `jwt` and signed cookies; `rate-limiter-flexible`",
    packages: ["hono", "@hono/node-server", "rate-limiter-flexible", "ioredis"]
  },
  {
    name: "koa",
    is: "`@koa/router`, `@koa/cors`, its own signed cookies; `jsonwebtoken`; `rate-limiter-flexible`; gzip by hand",
    packages: ["koa", "@koa/router", "@koa/cors", "jsonwebtoken", "rate-limiter-flexible", "ioredis"]
  },
  {
    name: "express",
    is:
      "without ETag and `X-Powered-By`; `cors`, `compression`; `jsonwebtoken`; `express-rate-limit`, and `rate-limiter-flexible` in Redis; `cookie-session`, and `express-session` in Redis",
    packages: [
      "express",
      "cors",
      "compression",
      "jsonwebtoken",
      "express-rate-limit",
      "rate-limiter-flexible",
      "cookie-session",
      "express-session",
      "ioredis",
      "redis"
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
