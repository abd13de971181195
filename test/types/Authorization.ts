import { HttpApiEndpoint, type HttpServerRespondable, type OpenApi } from "@effect/platform"
import { type Context, Effect } from "effect"
import { type Authentication, Authorization } from "effect-middleware"
import { Busy, Database, same, typeOf } from "./fixtures.js"

interface User {
  readonly id: string
}

// rules, by what they ask and how they may fail to decide

typeOf(Authorization.scope("docs.read")).is<Authorization.Rule>()
typeOf(Authorization.role("admin")).is<Authorization.Rule>()
typeOf(Authorization.permission("docs.publish")).is<Authorization.Rule>()
const own = Authorization.rule("own", ({ user }: { readonly user: User }) => user.id === "ada")
typeOf(own).is<Authorization.Rule<User>>()
const asks = Authorization.rule(
  "asks",
  (principal: Authentication.Principal<User>) =>
    Effect.flatMap(Database, ({ url }) => url === principal.user.id ? Effect.succeed(true) : Effect.fail(new Busy()))
)
typeOf(asks).is<Authorization.Rule<User, Busy, Database>>()
// @ts-expect-error neither yes nor no
Authorization.rule("neither", () => "perhaps")
typeOf(Authorization.deny("it is Sunday")).is<Authorization.Denied>()
same<Authorization.Verdict, boolean | Authorization.Denied>()

typeOf(Authorization.not(asks)).is<Authorization.Rule<User, Busy, Database>>()
typeOf(Authorization.all<User, Busy, Database>(own, asks)).is<Authorization.Rule<User, Busy, Database>>()
typeOf(Authorization.any<User, Busy, Database>(Authorization.role("admin"), asks)).is<
  Authorization.Rule<User, Busy, Database>
>()
const requirements: Authorization.Requirements<User, Busy, Database> = {
  scopes: ["docs.read"],
  any: [{ roles: ["admin"] }, asks],
  not: { permissions: ["nothing"] }
}
const requirement: Authorization.Requirement<User, Busy, Database> = requirements
typeOf(Authorization.make(requirement)).is<Authorization.Rule<User, Busy, Database>>()
// @ts-expect-error a rule of another name
Authorization.make({ scope: "docs.read" })

// what they decide

declare const decision: Authorization.Decision
typeOf(Authorization.explain(decision)).is<string>()
declare const denied: Authorization.NotPermitted
same<typeof denied.decision, Authorization.Decision | undefined>()
export const respondable: HttpServerRespondable.Respondable = denied

typeOf(Authorization.openApi({ scopes: ["docs.read"] })).is<Context.Context<OpenApi.Transform>>()
export const annotated = HttpApiEndpoint.get("read", "/read").annotateContext(Authorization.openApi(own))
