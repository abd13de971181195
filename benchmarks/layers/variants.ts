import { layersOf, type Server } from "./work.js"

export interface Contestant {
  readonly name: string
  readonly is: string
  /** Contestants of one group have one baseline, the variant without layers. */
  readonly group: string
}

export const contestants = [
  { name: "compiled", group: "Effect", is: "`Stack.make` of `Middleware.make`" },
  { name: "naive gen", group: "Effect", is: "nested `HttpMiddleware.make` with `Effect.gen` and `setHeader`" },
  { name: "naive flatMap", group: "Effect", is: "the same with `Effect.flatMap` and `Effect.map`" },
  { name: "Hono", group: "Hono", is: "`app.fetch` with its router and a web `Response`" },
  { name: "Hono compose", group: "Hono compose", is: "Hono's dispatch alone, on a plain context" },
  { name: "koa-compose", group: "koa-compose", is: "koa-compose alone, on the same plain context" }
] as const satisfies ReadonlyArray<Contestant>

export type Name = typeof contestants[number]["name"]

/** Loads no more than the contestant: a process runs one. */
export const open = async (name: Name, count: number): Promise<Server> => {
  const layers = layersOf(count)
  switch (name) {
    case "compiled":
    case "naive gen":
    case "naive flatMap": {
      const { compiled, naiveFlatMap, naiveGen, serve } = await import("./effect.js")
      const wrap = { compiled, "naive gen": naiveGen, "naive flatMap": naiveFlatMap }[name]
      return serve(count === 0 ? (app) => app : wrap(layers))
    }
    case "Hono":
      return (await import("./promises.js")).hono(layers)
    case "Hono compose":
      return (await import("./promises.js")).honoCompose(layers)
    case "koa-compose":
      return (await import("./promises.js")).koaCompose(layers)
  }
}
