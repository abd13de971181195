/**
 * Authorization: what a principal may do, by scope, role, permission or a rule of your own.
 *
 * 1. Scopes, roles and permissions are names: exact, whole and case-sensitive. `docs` is no prefix of `docs:read`.
 * 2. Rules are joined by `all`, `any` and `not`. What is decided already is not asked any further.
 * 3. A rule that cannot decide fails, with an error of its own: it neither allows nor denies.
 * 4. A decision says how it came about, to the log and to tests, never to the client.
 *
 * A principal's class has the middleware: `CurrentUser.requires(...)`, see `Authentication`.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as OpenApi from "@effect/platform/OpenApi"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Principal } from "./Authentication.js"
import { lift } from "./internal/lift.js"
import * as ProblemDetails from "./ProblemDetails.js"

// ---------------------------------------------------------------------------------------------------------------------
// decisions
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What a rule has decided, and why.
 *
 * @since 0.1.0
 * @category models
 */
export interface Decision {
  readonly rule: string
  readonly allowed: boolean
  /** Of a rule of your own that denies. */
  readonly reason?: string | undefined
  /** What it has asked, in order; of what was not needed there is nothing. */
  readonly parts: ReadonlyArray<Decision>
}

/**
 * A decision as text, a line for each rule.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Authorization } from "effect-middleware"
 *
 * const denied = { rule: "all", allowed: false, parts: [
 *   { rule: "scope docs:read", allowed: true, parts: [] },
 *   { rule: "office hours", allowed: false, reason: "it is Sunday", parts: [] }
 * ] }
 *
 * assert.equal(Authorization.explain(denied), `denied: all
 *   allowed: scope docs:read
 *   denied: office hours (it is Sunday)`)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export const explain = (decision: Decision): string => lines(decision, "").join("\n")

const lines = ({ allowed, parts, reason, rule }: Decision, indent: string): ReadonlyArray<string> => [
  `${indent}${allowed ? "allowed" : "denied"}: ${rule}${reason === undefined ? "" : ` (${reason})`}`,
  ...parts.flatMap((part) => lines(part, `${indent}  `))
]

/**
 * What a rule of your own says: `true`, `false`, or `deny` with a reason.
 *
 * @since 0.1.0
 * @category models
 */
export type Verdict = boolean | Denied

/**
 * @since 0.1.0
 * @category models
 */
export interface Denied {
  readonly reason: string
}

/**
 * Denies, and tells the log why.
 *
 * @since 0.1.0
 * @category constructors
 */
export const deny = (reason: string): Denied => ({ reason })

// ---------------------------------------------------------------------------------------------------------------------
// rules
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Decides about a principal. `E` is how it may fail to decide, `R` what it has to ask.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rule<in User = unknown, out E = never, out R = never> {
  readonly name: string
  /** Those it names, for the challenge of RFC 6750. */
  readonly scopes: ReadonlyArray<string>
  readonly decide: (principal: Principal<User>) => Decision | Effect.Effect<Decision, E, R>
}

/**
 * What has to hold, all of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Requirements<in User = unknown, out E = never, out R = never> {
  /** All of these scopes. */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** One of these roles. */
  readonly roles?: ReadonlyArray<string> | undefined
  /** All of these permissions. */
  readonly permissions?: ReadonlyArray<string> | undefined
  /** All of these rules. */
  readonly all?: ReadonlyArray<Requirement<User, E, R>> | undefined
  /** One of these rules. */
  readonly any?: ReadonlyArray<Requirement<User, E, R>> | undefined
  /** Not this rule. */
  readonly not?: Requirement<User, E, R> | undefined
  /** A rule is none: what it decides about has to fit. */
  readonly decide?: undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export type Requirement<User = unknown, E = never, R = never> = Rule<User, E, R> | Requirements<User, E, R>

/**
 * A rule of your own.
 *
 * @example
 * ```ts
 * import { HttpRouter } from "@effect/platform"
 * import { Authorization } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * interface User {
 *   readonly id: string
 * }
 *
 * export const isSelf = Authorization.rule("is self", ({ user }: { readonly user: User }) =>
 *   Effect.map(HttpRouter.params, ({ id }) => id === user.id || Authorization.deny("it is another user")))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const rule = <User = unknown, E = never, R = never>(
  name: string,
  decide: (principal: Principal<User>) => Verdict | Effect.Effect<Verdict, E, R>
): Rule<User, E, R> => {
  const decisionOf = (verdict: Verdict): Decision =>
    typeof verdict === "boolean"
      ? { rule: name, allowed: verdict, parts: [] }
      : { rule: name, allowed: false, reason: verdict.reason, parts: [] }
  return {
    name,
    scopes: [],
    decide: (principal) => {
      const verdict = decide(principal)
      return Effect.isEffect(verdict) ? Effect.map(verdict, decisionOf) : decisionOf(verdict)
    }
  }
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const scope = (name: string): Rule => {
  // `scope-token` of RFC 6749 section 3.3
  if (!/^[!#-[\]-~]+$/.test(name)) {
    throw new TypeError(`Authorization: scope ${JSON.stringify(name)}: write one name, without spaces and quotes`)
  }
  return { ...rule(`scope ${name}`, ({ scopes }) => has(scopes, name)), scopes: [name] }
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const role = (name: string): Rule => rule(`role ${named("role", name)}`, ({ roles }) => has(roles, name))

/**
 * @since 0.1.0
 * @category constructors
 */
export const permission = (name: string): Rule =>
  rule(`permission ${named("permission", name)}`, ({ permissions }) => has(permissions, name))

/** Not `includes`, which a text has too, for its parts. */
const has = (names: ReadonlyArray<string>, name: string): boolean => names.some((one) => one === name)

const named = (what: string, name: string): string => {
  if (name === "") throw new TypeError(`Authorization: a ${what} is empty: write its name`)
  return name
}

/**
 * Allows what all of them allow.
 *
 * @since 0.1.0
 * @category combinators
 */
export const all = <User = unknown, E = never, R = never>(
  ...rules: ReadonlyArray<Rule<User, E, R>>
): Rule<User, E, R> => joined("all", rules, false)

/**
 * Allows what one of them allows.
 *
 * @since 0.1.0
 * @category combinators
 */
export const any = <User = unknown, E = never, R = never>(
  ...rules: ReadonlyArray<Rule<User, E, R>>
): Rule<User, E, R> => joined("any", rules, true)

/**
 * Allows what it denies. A rule that fails is not turned around: that fails, too.
 *
 * @since 0.1.0
 * @category combinators
 */
export const not = <User, E, R>(rule: Rule<User, E, R>): Rule<User, E, R> => {
  const turned = (part: Decision): Decision => ({ rule: "not", allowed: !part.allowed, parts: [part] })
  return {
    name: "not",
    // to have more of them would not help
    scopes: [],
    decide: (principal) => {
      const decided = rule.decide(principal)
      return Effect.isEffect(decided) ? Effect.map(decided, turned) : turned(decided)
    }
  }
}

/** Asks one after the other, up to the first that decides. */
const joined = <User, E, R>(
  name: "all" | "any",
  rules: ReadonlyArray<Rule<User, E, R>>,
  decisive: boolean
): Rule<User, E, R> => {
  if (rules.length === 0) throw new TypeError(`Authorization: ${name} is empty: list a rule, or leave it out`)
  const [only] = rules
  if (rules.length === 1 && only !== undefined) return only
  return {
    name,
    scopes: [...new Set(rules.flatMap(({ scopes }) => scopes))],
    decide: (principal) => {
      const parts: Array<Decision> = []
      const ask = (from: number): Decision | Effect.Effect<Decision, E, R> => {
        for (let at = from; at < rules.length; at++) {
          const decided = rules[at]!.decide(principal)
          if (Effect.isEffect(decided)) {
            return Effect.flatMap(decided, (part) => lift(take(part) ?? ask(at + 1)))
          }
          const decision = take(decided)
          if (decision !== undefined) return decision
        }
        return { rule: name, allowed: !decisive, parts }
      }
      const take = (part: Decision): Decision | undefined => {
        parts.push(part)
        return part.allowed === decisive ? { rule: name, allowed: decisive, parts } : undefined
      }
      return ask(0)
    }
  }
}

/**
 * Compiles requirements, once, to a rule. Throws on names that no principal could have and on empty lists.
 *
 * @example
 * ```ts
 * import { Authorization } from "effect-middleware"
 *
 * export const mayPublish = Authorization.make({
 *   scopes: ["docs:write"],
 *   any: [{ roles: ["editor", "admin"] }, { permissions: ["docs.publish"] }]
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <User = unknown, E = never, R = never>(
  requirement: Requirement<User, E, R>
): Rule<User, E, R> => {
  if (isRule(requirement)) return requirement
  const { all: every, any: some, decide: _, not: denied, permissions, roles, scopes, ...unknown } = requirement
  for (const name of Object.keys(unknown)) {
    // what is not understood would allow everybody
    throw new TypeError(
      `Authorization: a requirement has ${JSON.stringify(name)}: write scopes, roles, permissions, all, any or not`
    )
  }
  const rules: Array<Rule<User, E, R>> = []
  if (scopes !== undefined) rules.push(all(...scopes.map(scope)))
  if (roles !== undefined) rules.push(any(...roles.map(role)))
  if (permissions !== undefined) rules.push(all(...permissions.map(permission)))
  if (every !== undefined) rules.push(all(...every.map(make)))
  if (some !== undefined) rules.push(any(...some.map(make)))
  if (denied !== undefined) rules.push(not(make(denied)))
  return rules.length === 0 ? authenticated : all(...rules)
}

const authenticated: Rule = rule("authenticated", () => true)

const isRule = <User, E, R>(requirement: Requirement<User, E, R>): requirement is Rule<User, E, R> =>
  requirement.decide !== undefined

/**
 * Annotates an endpoint of an `HttpApi`: OpenAPI lists the scopes with each of its security schemes.
 *
 * @example
 * ```ts
 * import { HttpApiEndpoint } from "@effect/platform"
 * import { Authorization } from "effect-middleware"
 *
 * const publish = HttpApiEndpoint.post("publish", "/publish").annotateContext(
 *   Authorization.openApi({ scopes: ["docs:write"] })
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const openApi = (requirement: Requirement<never, unknown, unknown>): Context.Context<OpenApi.Transform> => {
  const { scopes } = make(requirement)
  return Context.make(OpenApi.Transform, (operation) => ({
    ...operation,
    security: Array.isArray(operation["security"]) ? operation["security"].map((one) => withScopes(one, scopes)) : []
  }))
}

const withScopes = (security: object, scopes: ReadonlyArray<string>) =>
  Object.fromEntries(Object.keys(security).map((scheme) => [scheme, scopes]))

// ---------------------------------------------------------------------------------------------------------------------
// failures
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The principal may not do that: 403. To a client with a bearer token the challenge says which scopes it takes (RFC 6750
 * section 3.1).
 *
 * @since 0.1.0
 * @category errors
 */
export class NotPermitted extends Schema.TaggedError<NotPermitted>("effect-middleware/Authorization/NotPermitted")(
  "NotPermitted",
  {
    /** The value of `WWW-Authenticate`; empty for none. */
    challenge: Schema.optionalWith(Schema.String, { default: () => "" })
  },
  HttpApiSchema.annotations({ status: 403 })
) implements HttpServerRespondable.Respondable {
  /** How it came about: on the server alone. */
  decision: Decision | undefined

  override get message() {
    return this.decision === undefined ? "The principal is not permitted" : explain(this.decision)
  }
  [HttpServerRespondable.symbol]() {
    return this.challenge === ""
      ? forbidden
      : ProblemDetails.toResponse(problem, { headers: { "www-authenticate": this.challenge } })
  }
}

const problem = { status: 403, detail: "The credentials do not permit that" }
const forbidden = ProblemDetails.toResponse(problem)
