import { Effect } from "effect"
import { Forwarded, type Middleware } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Name extends string = "Forwarded"> = Middleware.Middleware<
  Forwarded.Client,
  never,
  never,
  never,
  Name,
  Middleware.Phases
>

typeOf(Forwarded.middleware({ trust: "none" })).is<Of>()
typeOf(Forwarded.middleware({ trust: { hops: 1 }, header: "forwarded" })).is<Of>()
typeOf(Forwarded.middleware({
  trust: { proxies: ["10.0.0.0/8"], unixSocket: true },
  fields: ["proto", "host", "port", "prefix"],
  name: "Edge"
})).is<Of<"Edge">>()
export const trusts: ReadonlyArray<Forwarded.Trust> = ["none", { hops: 2 }, { proxies: ["loopback"] }]

// @ts-expect-error who is trusted has to be said
Forwarded.middleware({})
// @ts-expect-error nobody trusts all
Forwarded.middleware({ trust: "all" })
// @ts-expect-error no such field
Forwarded.middleware({ trust: "none", fields: ["for"] })

// the service
typeOf(Effect.map(Forwarded.Client, ({ address }) => address)).is<
  Effect.Effect<string | undefined, never, Forwarded.Client>
>()
same<(typeof Forwarded.Client)["Service"], Forwarded.ClientInfo>()
// it lives for one request
same<Extract<Forwarded.Client, Middleware.PerRequest>, Forwarded.Client>()

// the rules alone
declare const options: Forwarded.Options
typeOf(Forwarded.policy(options)).is<(facts: Forwarded.Facts) => Forwarded.ClientInfo>()
typeOf(Forwarded.hiddenHeaders).is<ReadonlyArray<string>>()
same<Forwarded.ClientInfo["scheme"], "http" | "https">()
