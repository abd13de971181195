import type { Any, Middleware } from "../Middleware.js"

/** What a stack does, and what each member must also be to stand in its place. */
export interface Folded {
  readonly provides: unknown
  readonly fails: unknown
  readonly requires: unknown
  readonly handles: unknown
  readonly places: ReadonlyArray<unknown>
}

/**
 * From the outermost member inward: what an outer one provides or handles is gone from what inner ones require or fail
 * with. One pass, and one inference a member: the cost of a stack is linear in its length.
 */
export type Fold<
  L,
  Provides = never,
  Fails = never,
  Requires = never,
  Handles = never,
  Places extends ReadonlyArray<unknown> = []
> = L extends readonly [infer M, ...infer Later] ? [M] extends [Middleware<infer P, infer F, infer R, infer H>] ? Fold<
      Later,
      Provides | P,
      Fails | Exclude<F, Handles>,
      Requires | Exclude<R, Provides>,
      Handles | H,
      [...Places, Place<M, Exclude<R, Provides>, Later>]
    >
  : Fold<Later, Provides, Fails, Requires, Handles, [...Places, NotOne<M>]>
  : L extends readonly [] ? { provides: Provides; fails: Fails; requires: Requires; handles: Handles; places: Places }
  // an array: nothing is known of its members
  : { provides: never; fails: unknown; requires: unknown; handles: never; places: Array<MustBeListed> }

/**
 * An ordered stack of middlewares, first is outermost. It is an alias of
 * `Middleware` that keeps its tuple, so it is one by variance and narrows like
 * one.
 *
 * @since 0.1.0
 * @category models
 */
export type Stack<L extends ReadonlyArray<Any>, Name extends string = string> = Middleware<
  Fold<L>["provides"],
  Fold<L>["fails"],
  Fold<L>["requires"],
  Fold<L>["handles"],
  Name,
  L
>

// The sentences below are what the compiler prints of a mistake: the name of the property that the argument lacks.

/**
 * What the compiler prints for a member that stands outside the one that
 * provides what it needs.
 *
 * @since 0.1.0
 * @category models
 */
export interface MustStandInside<Provider, Service> {
  readonly "this middleware needs a service that only a later one provides: put it after that one": [Provider, Service]
}

/**
 * What the compiler prints for an edit that leaves another member outside the one
 * that provides what it needs.
 *
 * @since 0.1.0
 * @category models
 */
export interface WouldMisplace<Member, Service> {
  readonly "after this edit another middleware needs a service that only a later one provides": [Member, Service]
}

/**
 * What the compiler prints for a member that may be one of two middlewares.
 *
 * @since 0.1.0
 * @category models
 */
export interface MustBeOne {
  readonly "a choice between two middlewares provides only what both do: use Middleware.whenOr": never
}

/**
 * What the compiler prints for an array of middlewares.
 *
 * @since 0.1.0
 * @category models
 */
export interface MustBeListed {
  readonly "list the middlewares one by one: an array's order is unknown to the types": never
}

/**
 * What the compiler prints for a function that is no middleware of this package.
 *
 * @since 0.1.0
 * @category models
 */
export interface MustBeMiddleware {
  // the compiler names the property that a function lacks only if a function is asked for
  (app: never): unknown
  readonly "a plain HttpMiddleware enters by Middleware.fromHttpMiddleware(name, middleware)": never
}

type NotOne<M> = M extends ReadonlyArray<unknown> ? MustBeListed : MustBeMiddleware

/**
 * `unknown` where the member may stand. `Unmet` is what it requires of those before it that they do not provide; where
 * nobody after it provides anything, it need not be known, so that a generic function can add a member.
 */
type Place<M, Unmet, Later> = IsUnion<M> extends false ? [Offered<Later>] extends [never] ? unknown
  : [Unmet] extends [never] ? unknown
  : Inside<Extract<Unmet, Offered<Later>>, Later>
  : MustBeOne

type IsUnion<T, U = T> = T extends unknown ? ([U] extends [T] ? false : true) : never

type Offered<L> = L extends ReadonlyArray<infer M> ? OfferedBy<M> : never
type OfferedBy<M> = M extends Middleware<infer P, unknown, unknown, never> ? P : never

type Inside<Service, Later> = [Service] extends [never] ? unknown : MustStandInside<ProviderOf<Service, Later>, Service>

type ProviderOf<Service, Later> = Later extends readonly [infer M, ...infer T]
  ? [Extract<Service, OfferedBy<M>>] extends [never] ? ProviderOf<Service, T> : Middleware.Name<M>
  : never

/**
 * `unknown` for a tuple in which every member stands where it can; else what is wrong, to be said of `New`, the member
 * that an edit brings.
 */
export type Verify<L, New = unknown> = Wrong<L, Fold<L>["places"], New>

type Wrong<L, Places, New> = Places extends readonly [infer X, ...infer Rest]
  ? L extends readonly [infer M, ...infer T] ? unknown extends X ? Wrong<T, Rest, New>
    : unknown extends New ? X
    : [M, New] extends [New, M] ? X
    : X extends MustStandInside<unknown, infer Service> ? WouldMisplace<Middleware.Name<M>, Service>
    : X
  : never
  // of an array nothing is known: what comes of it requires `unknown`
  : unknown

// written out, since the compiler would print the alias and hide what the stack does
export type Edited<L> = L extends unknown
  ? Fold<L> extends infer S extends Folded
    ? Middleware<S["provides"], S["fails"], S["requires"], S["handles"], string, L>
  : never
  : never
