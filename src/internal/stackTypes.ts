import type { Any, Middleware } from "../Middleware.js"

type P<M> = Middleware.Provides<M>
type R<M> = Middleware.Requires<M>

/** Outermost first: what an outer one provides or handles is gone from what inner ones require or fail with. */
export type Fold<L> = L extends readonly [infer A, ...infer T] ? {
    p: P<A> | Fold<T>["p"]
    f: Middleware.Fails<A> | Exclude<Fold<T>["f"], Middleware.Handles<A>>
    r: R<A> | Exclude<Fold<T>["r"], P<A>>
    h: Middleware.Handles<A> | Fold<T>["h"]
  }
  : { p: never; f: never; r: never; h: never }

/**
 * An ordered stack of middlewares, first is outermost. It is an alias of
 * `Middleware` that keeps its tuple, so it is one by variance and narrows like
 * one.
 *
 * @since 0.1.0
 * @category models
 */
export type Stack<L extends ReadonlyArray<Any>, Name extends string = string> = Middleware<
  Fold<L>["p"],
  Fold<L>["f"],
  Fold<L>["r"],
  Fold<L>["h"],
  Name,
  L
>

/**
 * What the compiler prints for a member that stands outside the one that
 * provides what it needs.
 *
 * @since 0.1.0
 * @category models
 */
export interface MustStandInside<Service> {
  readonly "this middleware needs a service that only a later one provides: put it after": Service
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

type IsUnion<T, U = T> = T extends unknown ? ([U] extends [T] ? false : true) : never

/** What a member must also be, given what those before and those after it provide. */
export type At<M, Before, After> = IsUnion<M> extends true ? MustBeOne
  : [Extract<Exclude<R<M>, Before>, After>] extends [never] ? unknown
  : MustStandInside<Extract<Exclude<R<M>, Before>, After>>

/** `unknown` for a tuple in which every member stands where it can. */
export type Verify<L, Before = never> = L extends readonly [infer A, ...infer T]
  ? unknown extends At<A, Before, Fold<T>["p"]> ? Verify<T, Before | P<A>> : At<A, Before, Fold<T>["p"]>
  : unknown
