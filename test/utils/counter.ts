/** What the tests of sessions share: a session, browsers, and stores that are watched. */
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert } from "@effect/vitest"
import { Deferred, Effect, Layer, Redacted, Schema, type Scope } from "effect"
import { Keyring, type Middleware, Session, SessionStore } from "effect-middleware"
import { answered, type ErasedApp } from "./laws.js"
import { type App, type Init, type Mount, mounts, type Reply, type Send } from "./TestApp.js"

// --- a session -------------------------------------------------------------------------------------------------------

export const Count = Schema.Struct({
  n: Schema.optionalWith(Schema.Number, { default: () => 0 }),
  note: Schema.optionalWith(Schema.String, { default: () => "" })
})
export type Count = typeof Count.Type

export class Counter extends Session.Tag("test/Counter")<Counter>()(Count) {}

export const kinds = ["signed", "encrypted", "stored"] as const

const secrets = [
  "Vx0b2kqTq6yJmJ3l8pYwHn5sRf9cZdA1uEoGiKtLbXw=",
  "q1Zp0s8Kd3uYt7VfLw2nRb6xGj9cHe4mAi5oTyUzXkE="
] as const
const [fresh, old] = [Redacted.make(secrets[0]), Redacted.make(secrets[1])]
export const keyring = Keyring.make({ keys: [fresh] })
export const oldKeyring = Keyring.make({ keys: [old] })
/** Between the two. */
export const bothKeyring = Keyring.make({ keys: [fresh, old] })

type Settings = Partial<Omit<Session.Options, "kind">>

export const middlewareOf = (kind: Session.Kind, options: Settings = {}): Middleware.Any =>
  kind === "stored" ? Counter.middleware({ kind, ...options }) : Counter.middleware({ kind, keyring, ...options })

/** A handler that answers with what its session gives. */
export const handler = <E, R>(f: (counter: Session.Service<Count>) => Effect.Effect<unknown, E, R>): ErasedApp =>
  Effect.flatMap(Counter, (counter) => Effect.map(f(counter), (value) => HttpServerResponse.unsafeJson(value ?? null)))

export const inc = (value: Count): Count => ({ ...value, n: value.n + 1 })
export const add = (note: string) => (value: Count): Count => ({ ...value, note: value.note + note })

const valueOf = <A, E>(
  option: Effect.Effect<{ readonly _tag: "None" } | { readonly _tag: "Some"; readonly value: A }, E>
) => Effect.map(option, (option) => option._tag === "Some" ? option.value : null)

export const routes = {
  "/none": HttpServerResponse.text("none"),
  "/get": handler(({ get }) => Effect.map(get, ({ n }) => n)),
  "/all": handler(({ get, isNew, principal }) =>
    Effect.all([Effect.map(get, ({ n }) => n), isNew, valueOf(principal)])
  ),
  "/note": handler(({ get }) => Effect.map(get, ({ note }) => note)),
  "/id": handler(({ id }) => valueOf(id)),
  "/expires": handler(({ expiresAt }) => valueOf(Effect.map(expiresAt, (at) => at))),
  "/inc": handler(({ update }) => update(inc)),
  "/same": handler((counter) => counter.update((value) => ({ ...value }))),
  "/five": handler((counter) => counter.set({ n: 5, note: "" })),
  "/rotate": handler((counter) => counter.rotate()),
  "/login": handler((counter) => counter.rotate({ principal: "ada" })),
  "/logout": handler((counter) => counter.rotate({ principal: null })),
  "/touch": handler(({ touch }) => touch),
  "/destroy": handler(({ destroy }) => destroy),
  "/flashes": handler(({ flashes }) => flashes)
} satisfies Record<string, ErasedApp>

// --- servers and browsers --------------------------------------------------------------------------------------------

export const mountOf = (name: string): Mount => mounts.find((mount) => mount.name === name)!
export const piped = mountOf("app.pipe")

/** A server with the routes above and those of the test. */
export const serve = (
  middleware: Middleware.Any,
  own: Record<string, ErasedApp> = {},
  mount: Mount = piped
): Effect.Effect<Send, never, Scope.Scope> => {
  const all: Record<string, ErasedApp> = { ...routes, ...own }
  const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => all[url] ?? Effect.die(`no ${url}`))
  // what the routes require, the middleware and the context of the test provide
  return mount.mount(app as App, middleware)
}

export interface SetCookie {
  readonly name: string
  readonly value: string
  readonly attributes: ReadonlyArray<string>
  readonly maxAge: number | undefined
}

export const cookiesOf = ({ cookies }: Reply): ReadonlyArray<SetCookie> =>
  cookies.map((cookie) => {
    const [pair = "", ...attributes] = cookie.split("; ")
    const equals = pair.indexOf("=")
    const maxAge = attributes.find((attribute) => attribute.startsWith("Max-Age="))
    return {
      name: pair.slice(0, equals),
      value: pair.slice(equals + 1),
      attributes,
      maxAge: maxAge === undefined ? undefined : Number(maxAge.slice(8))
    }
  })

export interface Browser {
  (path: string, init?: Init): Effect.Effect<Reply>
  readonly jar: Map<string, string>
  /** Another one with the same cookies. */
  readonly copy: () => Browser
  readonly cookie: () => string
}

/** Keeps cookies as a browser does, but for the time of day: the server has to know by itself. */
export const browser = (send: Send, cookies: Iterable<readonly [string, string]> = []): Browser => {
  const jar = new Map(cookies)
  const cookie = () => Array.from(jar, ([name, value]) => `${name}=${value}`).join("; ")
  const visit = (path: string, { headers, ...init }: Init = {}) =>
    Effect.suspend(() =>
      answered(send({ path, ...init, headers: { ...jar.size > 0 && { cookie: cookie() }, ...headers } }))
    )
      .pipe(Effect.tap((reply) =>
        Effect.sync(() => {
          for (const { maxAge, name, value } of cookiesOf(reply)) {
            if (maxAge === 0) jar.delete(name)
            else jar.set(name, value)
          }
        })
      ))
  return Object.assign(visit, { jar, cookie, copy: () => browser(send, jar) })
}

/** What a page says, which has to be a 200. */
export const read = (visited: Effect.Effect<Reply>): Effect.Effect<unknown> =>
  Effect.map(visited, ({ body, status }) => {
    assert.strictEqual(status, 200, body)
    return JSON.parse(body)
  })

/** A place in a handler where it waits to be let on. */
export const makeGate = Effect.gen(function*() {
  const [entered, opened] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
  return {
    pass: Effect.zipRight(Deferred.succeed(entered, undefined), Deferred.await(opened)),
    entered: Deferred.await(entered),
    open: Deferred.succeed(opened, undefined)
  }
})

// --- stores ----------------------------------------------------------------------------------------------------------

export type Operation = keyof SessionStore.Service
type Watch = (operation: Operation, id: string) => Effect.Effect<unknown, SessionStore.SessionUnavailable>

/** A store in memory; `watch` comes before each of its operations, and can fail or wait. */
export const watched = (watch: Watch): Layer.Layer<SessionStore.SessionStore> => {
  const wrap = (store: SessionStore.Service): SessionStore.Service => ({
    load: (id, options) => Effect.zipRight(watch("load", id), store.load(id, options)),
    create: (id, ...rest) => Effect.zipRight(watch("create", id), store.create(id, ...rest)),
    save: (id, ...rest) => Effect.zipRight(watch("save", id), store.save(id, ...rest)),
    rotate: (from, ...rest) => Effect.zipRight(watch("rotate", from.id), store.rotate(from, ...rest)),
    destroy: (id, now) => Effect.zipRight(watch("destroy", id), store.destroy(id, now)),
    list: (owner, now) => Effect.zipRight(watch("list", owner), store.list(owner, now)),
    destroyAll: (owner, options) => Effect.zipRight(watch("destroyAll", owner), store.destroyAll(owner, options)),
    epoch: (owner, now) => Effect.zipRight(watch("epoch", owner), store.epoch(owner, now)),
    advanceEpoch: (owner, options) => Effect.zipRight(watch("advanceEpoch", owner), store.advanceEpoch(owner, options))
  })
  return Layer.provide(
    Layer.effect(SessionStore.SessionStore, Effect.map(SessionStore.SessionStore, wrap)),
    SessionStore.layerMemory()
  )
}

export const counting = () => {
  const calls: Array<Operation> = []
  const store = watched((operation) => Effect.sync(() => calls.push(operation)))
  return { store, taken: () => calls.splice(0) }
}

export const down = (operation: Operation) =>
  new SessionStore.SessionUnavailable({ operation, cause: new Error("connection refused") })
