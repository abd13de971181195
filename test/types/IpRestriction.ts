import type { HttpApp, HttpServerRespondable } from "@effect/platform"
import type { PlatformError } from "@effect/platform/Error"
import type { FileSystem } from "@effect/platform/FileSystem"
import { Context, type Duration, type Effect, type Layer } from "effect"
import { Forwarded, IpRestriction, type Middleware, Stack } from "effect-middleware"
import { type Busy, condition, same, type Store, typeOf } from "./fixtures.js"

type Of<Requires, Name extends string = "IpRestriction"> = Middleware.Middleware<
  never,
  IpRestriction.AddressNotAllowed,
  Requires,
  never,
  Name,
  Middleware.Phases
>

class Blocked extends IpRestriction.Tag("app/Blocked")<Blocked>() {}
class Office extends IpRestriction.Tag("app/Office")<Office>() {}

typeOf(IpRestriction.middleware({ allow: ["10.0.0.0/8"] })).is<Of<Forwarded.Client>>()
typeOf(IpRestriction.middleware({ deny: [], unknown: "allow", name: "Deny" })).is<Of<Forwarded.Client, "Deny">>()
typeOf(IpRestriction.middleware({ lists: Blocked })).is<Of<Forwarded.Client | Blocked>>()
typeOf(IpRestriction.middleware({ lists: Office, unknown: "refuse", name: "Office" })).is<
  Of<Forwarded.Client | Office, "Office">
>()
declare const options: IpRestriction.Options
typeOf(IpRestriction.middleware(options)).is<Of<Forwarded.Client, string>>()
declare const serviceOptions: IpRestriction.ServiceOptions<Blocked, "B">
typeOf(IpRestriction.middleware(serviceOptions)).is<Of<Forwarded.Client | Blocked, "B">>()
same<IpRestriction.Settings["unknown"], "refuse" | "allow" | undefined>()

// the client is known only inside Forwarded
Stack.make(Forwarded.middleware({ trust: "none" }), IpRestriction.middleware({ allow: ["loopback"] }))
// @ts-expect-error outside of it it is not
Stack.make(IpRestriction.middleware({ allow: ["loopback"] }), Forwarded.middleware({ trust: "none" }))

// @ts-expect-error lists are in the options or of a layer
IpRestriction.middleware({ lists: Blocked, deny: ["192.0.2.1"] })
// @ts-expect-error not lists
IpRestriction.middleware({ lists: Forwarded.Client })
// @ts-expect-error lists are lists
IpRestriction.middleware({ allow: "10.0.0.0/8" })
// @ts-expect-error refused or allowed
IpRestriction.middleware({ deny: [], unknown: condition })

// layers
same<Office extends Blocked ? true : false, false>()
export const tag: IpRestriction.TagClass<Blocked, "app/Blocked"> = Blocked
same<typeof Blocked.key, "app/Blocked">()
typeOf(Blocked.layer({ deny: ["192.0.2.1"] })).is<Layer.Layer<Blocked>>()
declare const load: Effect.Effect<IpRestriction.Lists, Busy, Store>
typeOf(Blocked.layerReloading(load, { every: "1 minute" })).is<
  Layer.Layer<Blocked, Busy | IpRestriction.ListsInvalid, Store>
>()
same<IpRestriction.Reloading["every"], Duration.DurationInput | undefined>()
declare const files: IpRestriction.Files
typeOf(Blocked.layerFile(files)).is<Layer.Layer<Blocked, PlatformError | IpRestriction.ListsInvalid, FileSystem>>()
// @ts-expect-error a path, not a list
Blocked.layerFile({ deny: ["blocked.txt"] })
declare const service: IpRestriction.Service
typeOf(service.decide("192.0.2.1")).is<IpRestriction.Decision>()
typeOf(service.reload).is<Effect.Effect<boolean>>()
export const context: Context.Context<Blocked> = Context.make(Blocked, service)

// the refusal joins the failures of the app, and knows its response
declare const app: HttpApp.Default
typeOf(app.pipe(IpRestriction.middleware({ deny: [] }))).is<
  HttpApp.Default<IpRestriction.AddressNotAllowed, Forwarded.Client>
>()
declare const refusal: IpRestriction.AddressNotAllowed
same<typeof refusal._tag, "AddressNotAllowed">()
same<typeof refusal.reason, IpRestriction.Reason>()
export const respondable: HttpServerRespondable.Respondable = refusal
same<IpRestriction.ListsInvalid["_tag"], "ListsInvalid">()

// the rules alone
typeOf(IpRestriction.policy({ allow: ["loopback"] })).is<(address: string | undefined) => IpRestriction.Decision>()
same<IpRestriction.Decision, "allow" | IpRestriction.Reason>()
same<IpRestriction.Reason, "unknown" | "malformed" | "denied" | "unlisted">()
