import type { Variant } from "./work.js"

export interface Contestant {
  readonly name: string
  readonly is: string
  /** Packages whose versions matter. */
  readonly packages: ReadonlyArray<string>
}

export const contestants = [
  { name: "raw", is: "`node:http`, by hand, in one function", packages: [] },
  {
    name: "ours",
    is: "this package, on platform's Node server",
    packages: ["effect", "@effect/platform", "@effect/platform-node"]
  },
  {
    name: "effect",
    is: "the same application with `HttpMiddleware.make` and `Effect.gen` a concern, and platform's `cors`",
    packages: ["effect", "@effect/platform", "@effect/platform-node"]
  },
  {
    name: "fastify",
    is: "hooks, response schemas, `@fastify/cors`; `fast-jwt`, with its cache",
    packages: ["fastify", "@fastify/cors", "fast-jwt"]
  },
  {
    name: "hono",
    is: "its own `timing`, `request-id`, `cors` and `jwt`",
    packages: ["hono", "@hono/node-server"]
  },
  {
    name: "koa",
    is: "`@koa/router`, `@koa/cors`; `jsonwebtoken`",
    packages: ["koa", "@koa/router", "@koa/cors", "jsonwebtoken"]
  },
  {
    name: "express",
    is: "without ETag and `X-Powered-By`; `cors`; `jsonwebtoken`",
    packages: ["express", "cors", "jsonwebtoken"]
  },
  {
    name: "starlette",
    is:
      "its own `TrustedHostMiddleware` and `CORSMiddleware`, PyJWT, all else as plain ASGI, on uvicorn with uvloop and httptools",
    packages: []
  }
] as const satisfies ReadonlyArray<Contestant>

export type Name = typeof contestants[number]["name"]

/** What a module of `apps/` exports. */
export interface App {
  /** Resolves to the port. */
  readonly start: (variant: Variant) => Promise<number>
}
