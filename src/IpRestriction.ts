/**
 * Lets requests in, or keeps them out, by the address of the client.
 *
 * Who the client is, `Forwarded.Client` says; no header tells it here. Rules, in this order:
 *
 * 1. A client without an address is refused, unless `unknown` is `"allow"`; what is no address is refused.
 * 2. One in `deny` is refused, whatever `allow` says.
 * 3. Where there is an `allow`, one that is not in it is refused.
 * 4. All others pass.
 *
 * Addresses are compared by their bits: `::ffff:192.0.2.1` is `192.0.2.1`, and no spelling of an address is another one.
 *
 * @since 0.1.0
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Client } from "./Forwarded.js"
import { parseAddress } from "./internal/address.js"
import { compileRanges } from "./internal/cidr.js"
import { rangeSet } from "./internal/rangeSet.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Addresses (`"192.0.2.1"`, `"2001:db8::1"`), ranges (`"10.0.0.0/8"`) and `"loopback"`, `"linklocal"`, `"private"` (also
 * `"uniquelocal"`). At least one of the two lists is there.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lists {
  /** Who alone is let in. An empty one would let nobody in, and is a mistake. Default: everybody. */
  readonly allow?: ReadonlyArray<string> | undefined
  /** Who is kept out. Default: nobody. */
  readonly deny?: ReadonlyArray<string> | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Settings<Name extends string = string> {
  /**
   * What becomes of a client without an address: one on a unix socket, or one that a trusted proxy does not name. Default:
   * `"refuse"`.
   */
  readonly unknown?: "refuse" | "allow" | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> extends Lists, Settings<Name> {
  readonly lists?: undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ServiceOptions<in out I, Name extends string = string> extends Settings<Name> {
  /** The tag of lists that a layer supplies, and may load anew. */
  readonly lists: Context.Tag<I, Service>
  readonly allow?: undefined
  readonly deny?: undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export type Decision = "allow" | Reason

/**
 * @since 0.1.0
 * @category policy
 */
export type Reason = "unknown" | "malformed" | "denied" | "unlisted"

/**
 * Compiles lists, once, to a pure function of an address. Of 100 000 ranges it looks at 17. Throws on an entry that is no
 * range, and on lists that say nothing or let nobody in.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { IpRestriction } from "effect-middleware"
 *
 * const decide = IpRestriction.policy({ allow: ["10.0.0.0/8"], deny: ["10.0.0.13"] })
 *
 * assert.equal(decide("10.1.2.3"), "allow")
 * assert.equal(decide("::ffff:10.0.0.13"), "denied")
 * assert.equal(decide("192.0.2.1"), "unlisted")
 * assert.equal(decide(undefined), "unknown")
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = ({ allow, deny }: Lists): (address: string | undefined) => Decision => {
  if (allow === undefined && deny === undefined) {
    throw new TypeError("IpRestriction: there is neither allow nor deny: write one, or leave the middleware out")
  }
  if (allow?.length === 0) {
    throw new TypeError("IpRestriction: allow is empty and lets nobody in: list who may, or leave it out")
  }
  const isAllowed = allow && rangeSet(compileRanges("IpRestriction: allow", allow))
  const isDenied = rangeSet(compileRanges("IpRestriction: deny", deny ?? []))
  return (text) => {
    if (text === undefined) return "unknown"
    const address = parseAddress(text)
    if (address === undefined) return "malformed"
    if (isDenied(address)) return "denied"
    return isAllowed === undefined || isAllowed(address) ? "allow" : "unlisted"
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The client is not let in. The answer is the same for every reason, and says no address.
 *
 * @since 0.1.0
 * @category errors
 */
export class AddressNotAllowed
  extends Schema.TaggedError<AddressNotAllowed>("effect-middleware/IpRestriction/AddressNotAllowed")(
    "AddressNotAllowed",
    { reason: Schema.Literal("unknown", "malformed", "denied", "unlisted") },
    HttpApiSchema.annotations({ status: 403 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return `The address of the client is ${this.reason}`
  }
  [HttpServerRespondable.symbol]() {
    return refusal
  }
}

const refusal = ProblemDetails.toResponse({ status: 403, detail: "This address is not allowed here" })

/**
 * Lists that were loaded are none: `message` says which entry it is.
 *
 * @since 0.1.0
 * @category errors
 */
export class ListsInvalid extends Schema.TaggedError<ListsInvalid>("effect-middleware/IpRestriction/ListsInvalid")(
  "ListsInvalid",
  { message: Schema.String }
) {}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Lists as they are now.
 *
 * @since 0.1.0
 * @category services
 */
export interface Service {
  /** Decides by the lists that were loaded last. */
  readonly decide: (address: string | undefined) => Decision
  /** Loads them now, and gives whether they are in force: when that fails those from before stay, and the log is told. */
  readonly reload: Effect.Effect<boolean>
}

/**
 * @since 0.1.0
 * @category services
 */
export interface TagClass<in out Self, Id extends string> extends Context.TagClass<Self, Id, Service> {
  /** Lists that stay. Throws as `policy` does. */
  readonly layer: (lists: Lists) => Layer.Layer<Self>
  /**
   * Lists that an Effect loads, again and again with `every`: all of them at once take the place of those from before. The
   * layer fails when the first are not to be had; later the last good ones stay, and the log is told.
   */
  readonly layerReloading: <E, R>(
    load: Effect.Effect<Lists, E, R>,
    options?: Reloading
  ) => Layer.Layer<Self, E | ListsInvalid, Exclude<R, Scope.Scope>>
  /** The same from files that have an entry a line; what follows a `#` is a comment. */
  readonly layerFile: (
    files: Files,
    options?: Reloading
  ) => Layer.Layer<Self, PlatformError | ListsInvalid, FileSystem.FileSystem>
}

/**
 * Paths of the files that have the lists.
 *
 * @since 0.1.0
 * @category models
 */
export interface Files {
  readonly allow?: string | undefined
  readonly deny?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Reloading {
  /** How long lists are good before they are loaded anew. Default: until `reload`. */
  readonly every?: Duration.DurationInput | undefined
}

/**
 * A tag for lists that a layer supplies.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import { Forwarded, IpRestriction, Stack } from "effect-middleware"
 *
 * class Blocked extends IpRestriction.Tag("app/Blocked")<Blocked>() {}
 *
 * const stack = Stack.make(
 *   Forwarded.middleware({ trust: "none" }),
 *   IpRestriction.middleware({ lists: Blocked })
 * )
 *
 * // it requires `Blocked`
 * const app = stack(HttpServerResponse.text("hello"))
 *
 * const blocked = Blocked.layerFile({ deny: "blocked.txt" }, { every: "1 minute" })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Tag = <const Id extends string>(id: Id) => <Self>(): TagClass<Self, Id> => {
  const tag = Context.Tag(id)<Self, Service>()
  const layerReloading: TagClass<Self, Id>["layerReloading"] = (load, options) =>
    Layer.scoped(tag, reloading(id, load, options))
  return Object.assign(tag, {
    layer: (lists: Lists) => {
      const decide = policy(lists)
      return Layer.succeed(tag, { decide, reload: Effect.succeed(true) })
    },
    layerReloading,
    layerFile: (files: Files, options?: Reloading) => layerReloading(readFiles(files), options)
  })
}

const reloading = <E, R>(
  id: string,
  load: Effect.Effect<Lists, E, R>,
  { every }: Reloading = {}
): Effect.Effect<Service, E | ListsInvalid, R | Scope.Scope> =>
  Effect.gen(function*() {
    let [last, decide]: [Lists | undefined, Service["decide"]] = [undefined, () => "unknown"]
    // what has been compiled is not compiled again
    const loaded = Effect.flatMap(load, (lists) =>
      Effect.try({
        try: () => {
          if (lists !== last) [decide, last] = [policy(lists), lists]
        },
        catch: (error) => new ListsInvalid({ message: error instanceof Error ? error.message : String(error) })
      }))
    const context = yield* Effect.context<R>()
    // of two that load at once the one that began later ends later
    const alone = yield* Effect.makeSemaphore(1)
    yield* loaded
    const reload = Effect.provide(loaded, context).pipe(
      Effect.as(true),
      Effect.catchAllCause((cause) =>
        Effect.as(Effect.logError(`IpRestriction: ${id} could not be loaded; the lists from before stay`, cause), false)
      ),
      alone.withPermits(1)
    )
    if (every !== undefined) yield* Effect.forkScoped(Effect.forever(Effect.delay(reload, every)))
    return { decide: (address) => decide(address), reload }
  })

/** Gives the same lists while the files say the same. */
const readFiles = ({ allow, deny }: Files): Effect.Effect<Lists, PlatformError, FileSystem.FileSystem> => {
  let [text, lists]: [string, Lists] = ["", {}]
  return Effect.gen(function*() {
    const files = yield* FileSystem.FileSystem
    const read = (path: string | undefined) => path === undefined ? Effect.succeed(path) : files.readFileString(path)
    const texts = yield* Effect.all([read(allow), read(deny)])
    const now = JSON.stringify(texts)
    if (now !== text) [text, lists] = [now, { allow: entriesOf(texts[0]), deny: entriesOf(texts[1]) }]
    return lists
  })
}

const entriesOf = (text: string | undefined): ReadonlyArray<string> | undefined =>
  text?.split("\n").map((line) => line.replace(/#.*/, "").trim()).filter((entry) => entry !== "")

// ---------------------------------------------------------------------------------------------------------------------
// middleware
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Refuses with `AddressNotAllowed` (403). Stands inside `Forwarded`.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Forwarded, IpRestriction, Middleware, Stack } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/admin/users", HttpServerResponse.text("ada")),
 *   Stack.make(
 *     Forwarded.middleware({ trust: { proxies: ["10.0.0.0/8"] } }),
 *     Middleware.forRoutes(["/admin/*"], IpRestriction.middleware({ allow: ["192.0.2.0/24", "loopback"] }))
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware: {
  <const Name extends string = "IpRestriction">(
    options: Options<Name>
  ): Middleware.Middleware<never, AddressNotAllowed, Client, never, Name, Middleware.Phases>
  <I, const Name extends string = "IpRestriction">(
    options: ServiceOptions<I, Name>
  ): Middleware.Middleware<never, AddressNotAllowed, Client | I, never, Name, Middleware.Phases>
} = <I, Name extends string>(options: Options<Name> | ServiceOptions<I, Name>) => {
  const { lists, name = "IpRestriction" as Name, unknown = "refuse" } = options
  if (unknown !== "refuse" && unknown !== "allow") {
    throw new TypeError(`IpRestriction: unknown is ${JSON.stringify(unknown)}: write "refuse" or "allow"`)
  }
  const answer = (decision: Decision) => {
    if (decision === "allow" || (decision === "unknown" && unknown === "allow")) return
    return refuse[decision]
  }
  if (lists !== undefined) {
    if (options.allow !== undefined || options.deny !== undefined) {
      throw new TypeError("IpRestriction: lists stands beside allow or deny: give them to the layer of its tag")
    }
    return Middleware.make({
      name,
      traits: ["guard", "access"],
      requires: [Client, lists],
      request: (exchange) => answer(exchange.get(lists).decide(exchange.get(Client).address))
    })
  }
  const decide = policy(options)
  return Middleware.make({
    name,
    traits: ["guard", "access"],
    requires: [Client],
    request: (exchange) => answer(decide(exchange.get(Client).address))
  })
}

// made once: an error with its stack and its schema costs more than the decision
const refuse = {
  unknown: Middleware.Refuse(new AddressNotAllowed({ reason: "unknown" })),
  malformed: Middleware.Refuse(new AddressNotAllowed({ reason: "malformed" })),
  denied: Middleware.Refuse(new AddressNotAllowed({ reason: "denied" })),
  unlisted: Middleware.Refuse(new AddressNotAllowed({ reason: "unlisted" }))
}
