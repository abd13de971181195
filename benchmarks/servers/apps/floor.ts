/**
 * What no middleware on Effect can save: all of the stack by hand, as raw.ts and rawWhole.ts have it, and of Effect what a
 * handler cannot do without. That is platform's router in a fiber with a context of its own, its services and a response.
 */
import { type HttpApp, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Context, Effect, Exit, FiberRefs, Runtime, RuntimeFlags } from "effect"
import { createServer } from "node:http"
import { isWhole, me, team, type Variant } from "../work.js"
import { router } from "./effectApp.js"
import { listen } from "./listen.js"
import { start as startWhole } from "./rawWhole.js"

class Subject extends Context.Tag("Subject")<Subject, string>() {}
class Visits extends Context.Tag("Visits")<Visits, number>() {}

const readMe = Effect.gen(function*() {
  return HttpServerResponse.unsafeJson(me(yield* Subject, yield* Visits))
})

const mine = HttpRouter.empty.pipe(
  HttpRouter.get("/me", readMe),
  HttpRouter.get("/me/team", Effect.map(Visits, (visits) => HttpServerResponse.unsafeJson(team(visits))))
)

const fork = Runtime.runFork(Runtime.make({
  context: Context.empty(),
  fiberRefs: FiberRefs.empty(),
  runtimeFlags: RuntimeFlags.disable(Runtime.defaultRuntimeFlags, RuntimeFlags.Interruption)
}))

/** All that the router reads of a request. */
interface Asked {
  readonly method?: string | undefined
  readonly url?: string | undefined
}

const handling = async <E, R>(router: HttpRouter.HttpRouter<E, R>) => {
  const app: HttpApp.Default<E | unknown, R> = await Effect.runPromise(HttpRouter.toHttpApp(router))
  return ({ method, url }: Asked, services: Context.Context<R>): Uint8Array => {
    const all = new Map(services.unsafeMap)
    all.set(HttpServerRequest.HttpServerRequest.key, { method, url })
    const context: Context.Context<R | HttpServerRequest.HttpServerRequest> = Context.unsafeMake(all)
    const exit = fork(Effect.mapInputContext(app, () => context)).unsafePoll()
    if (exit === null || Exit.isFailure(exit) || exit.value.body._tag !== "Uint8Array") {
      throw new Error("The handler is done at once, and well")
    }
    return exit.value.body.body
  }
}

export const start = async (variant: Variant): Promise<number> => {
  if (isWhole(variant)) {
    const handle = await handling(mine)
    return startWhole(
      variant,
      (request, subject, { visits }, send) =>
        send(handle(request, Context.make(Subject, subject).pipe(Context.add(Visits, visits))))
    )
  }
  if (variant !== "bare") throw new TypeError(`There is no floor for ${variant}`)
  const handle = await handling(router)
  return listen(createServer((request, response) => {
    const body = handle(request, Context.empty())
    response.writeHead(200, ["content-type", "application/json", "content-length", `${body.length}`])
    response.end(body)
  }))
}
