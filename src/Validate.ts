/**
 * Checks fields, query and content type of a request before the handler, and hands over what a schema makes of them.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import { hasContent, mediaTypeOf } from "./internal/content.js"
import { issuesOf } from "./internal/issues.js"
import { fromPhases } from "./internal/kernel.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"

// ---------------------------------------------------------------------------------------------------------------------
// failures
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The fields or the query are not as the schema wants them. It says where, in the words of the schema, and nothing of
 * what the client sent.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidInput extends Schema.TaggedError<InvalidInput>("effect-middleware/Validate/InvalidInput")(
  "InvalidInput",
  {
    in: Schema.Literal("headers", "query"),
    status: Schema.Literal(400, 422),
    errors: Schema.Array(Schema.Struct({
      pointer: Schema.String,
      reason: Schema.Literal("missing", "unexpected", "invalid")
    }))
  },
  HttpApiSchema.annotations({ status: 400 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return `Not as expected in the ${this.in}: ${
      this.errors.map((error) => `${error.pointer} ${error.reason}`).join(", ")
    }`
  }
  [HttpServerRespondable.symbol]() {
    return ProblemDetails.toResponse({
      status: this.status,
      detail: this.in === "query"
        ? "The query does not have the expected shape"
        : "The header fields do not have the expected shape",
      extensions: { in: this.in, errors: this.errors }
    })
  }
}

/**
 * The content is of no type that is taken here: 415, with those that are in `Accept` (RFC 9110 section 15.5.16).
 *
 * @since 0.1.0
 * @category errors
 */
export class UnsupportedContent
  extends Schema.TaggedError<UnsupportedContent>("effect-middleware/Validate/UnsupportedContent")(
    "UnsupportedContent",
    { accept: Schema.String },
    HttpApiSchema.annotations({ status: 415 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return `The content is none of ${this.accept}`
  }
  [HttpServerRespondable.symbol]() {
    return ProblemDetails.toResponse(
      { status: 415, detail: "The content is not of a type that is expected here" },
      { headers: { accept: this.accept } }
    )
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// fields and query
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** What input that does not fit is answered with. Default: 400. */
  readonly status?: 400 | 422 | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface QueryOptions extends Options {
  /** Whether a parameter that the schema does not name is refused. Default: `false`, it is left out. */
  readonly exact?: boolean | undefined
}

/**
 * The tag of validated input, and the middleware that provides it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Validated<in out Self, Id extends string, in out A, out R>
  extends Middleware.ServiceClass<Self, Id, A>
{
  readonly middleware: <const Name extends string = Id>(
    options?: { readonly name?: Name | undefined }
  ) => Middleware.Middleware<Self, InvalidInput, R, never, Name, Middleware.Phases>
}

/**
 * The query of a request, by a schema.
 *
 * - A parameter that comes several times is a list, and so is one for which the schema wants a list; where it wants one
 *   value, several are refused.
 * - A schema that is an Effect, or needs services, works; the middleware then requires them.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Validate } from "effect-middleware"
 * import { Effect, Schema } from "effect"
 *
 * class Paging extends Validate.Query("app/Paging")<Paging>()(Schema.Struct({
 *   limit: Schema.optionalWith(Schema.NumberFromString.pipe(Schema.int(), Schema.between(1, 100)), { default: () => 20 }),
 *   tag: Schema.optional(Schema.Array(Schema.String))
 * })) {}
 *
 * const list = Effect.map(Paging, ({ limit }) => HttpServerResponse.text(`${limit}`))
 * const app = HttpRouter.empty.pipe(HttpRouter.get("/notes", Paging.middleware()(list)))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Query =
  <const Id extends string>(id: Id) =>
  <Self>() =>
  <A, I extends { readonly [name: string]: string | ReadonlyArray<string> | undefined }, R>(
    schema: Schema.Schema<A, I, R>,
    options?: QueryOptions
  ): Validated<Self, Id, A, R> => {
    const shape = shapeOf(Schema.encodedSchema(schema).ast)
    const onExcessProperty = options?.exact === true ? "error" : "ignore"
    return validated(id, "query", schema, ({ url }) => queryOf(url, shape), options, onExcessProperty)
  }

/**
 * The header fields of a request, by a schema. Their names are in lower case; a schema that has another throws. What it
 * does not name is left out.
 *
 * @example
 * ```ts
 * import { Validate } from "effect-middleware"
 * import { Schema } from "effect"
 *
 * class ApiVersion extends Validate.Headers("app/ApiVersion")<ApiVersion>()(Schema.Struct({
 *   "x-api-version": Schema.Literal("1", "2")
 * })) {}
 *
 * const middleware = ApiVersion.middleware()
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Headers =
  <const Id extends string>(id: Id) =>
  <Self>() =>
  <A, I extends { readonly [name: string]: string | undefined }, R>(
    schema: Schema.Schema<A, I, R>,
    options?: Options
  ): Validated<Self, Id, A, R> => {
    const { ast } = Schema.encodedSchema(schema)
    for (const { name } of ast._tag === "TypeLiteral" ? ast.propertySignatures : []) {
      if (typeof name === "string" && name !== name.toLowerCase()) {
        throw new TypeError(`Validate: fields are in lower case; write "${name.toLowerCase()}" for "${name}"`)
      }
    }
    return validated(id, "headers", schema, ({ headers }) => headers, options, "ignore")
  }

const validated = <Self, Id extends string, A, I, R>(
  id: Id,
  where: InvalidInput["in"],
  schema: Schema.Schema<A, I, R>,
  input: (request: HttpServerRequest.HttpServerRequest) => unknown,
  { status = 400 }: Options = {},
  onExcessProperty: "error" | "ignore"
): Validated<Self, Id, A, R> => {
  const decode = ParseResult.decodeUnknown(schema, { errors: "all", onExcessProperty })
  const refuse = (issue: ParseResult.ParseIssue) =>
    Middleware.Refuse(new InvalidInput({ in: where, status, errors: issuesOf(issue) }))
  const tag = Middleware.Service(id)<Self, A>()
  const middleware = <const Name extends string = Id>(
    options?: { readonly name?: Name | undefined }
  ): Middleware.Middleware<Self, InvalidInput, R, never, Name, Middleware.Phases> => {
    const name = options?.name ?? id as string as Name
    return fromPhases(name, [{
      name,
      traits: ["guard"],
      provides: id,
      request: ({ request }: Middleware.Exchange) => {
        const result = decode(input(request))
        if (!isEither(result)) return Middleware.Defer
        return Either.isRight(result) ? Middleware.Provide(result.right) : refuse(result.left)
      },
      requestEffect: ({ request }: Middleware.Exchange) =>
        Effect.match(decode(input(request)), { onFailure: refuse, onSuccess: Middleware.Provide })
    }])
  }
  return Object.assign(tag, { middleware })
}

/** What needs no Effect is decoded as an Either. */
const isEither = <A, E, R>(effect: Effect.Effect<A, E, R>): effect is Either.Either<A, E> => Either.isEither(effect)

/** Null for a prototype: a parameter may have any name. */
const queryOf = (
  url: string,
  { isList, isOpen }: Shape
): { readonly [name: string]: string | ReadonlyArray<string> } => {
  const query: Record<string, string | Array<string>> = Object.create(null)
  const start = url.indexOf("?")
  if (start === -1) return query
  for (const [name, value] of new URLSearchParams(url.slice(start + 1))) {
    // a record of Schema's has the usual prototype, and would have the client's in its place
    if (isOpen && name === "__proto__") continue
    const before = query[name]
    if (before === undefined) query[name] = isList(name) ? [value] : value
    else if (typeof before === "string") query[name] = [before, value]
    else before.push(value)
  }
  return query
}

interface Shape {
  readonly isList: (name: string) => boolean
  /** Whether it takes parameters that it does not name. */
  readonly isOpen: boolean
}

/** Which parameters are lists, by the form in which a schema takes them. */
const shapeOf = (ast: SchemaAST.AST): Shape => {
  const literals = literalsOf(ast)
  const named = new Map(
    literals.flatMap(({ propertySignatures }) =>
      propertySignatures.map(({ name, type }) => [String(name), wantsList(type)] as const)
    )
  )
  const others = literals.flatMap(({ indexSignatures }) => indexSignatures.map(({ type }) => wantsList(type)))
  return { isList: (name) => named.get(name) ?? others.includes(true), isOpen: others.length > 0 }
}

const literalsOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.TypeLiteral> =>
  ast._tag === "TypeLiteral" ? [ast] : ast._tag === "Union" ? ast.types.flatMap(literalsOf) : []

const wantsList = (ast: SchemaAST.AST): boolean =>
  ast._tag === "TupleType" ||
  (ast._tag === "Union" && ast.types.some(wantsList) &&
    ast.types.every((type) => type._tag === "UndefinedKeyword" || wantsList(type)))

// ---------------------------------------------------------------------------------------------------------------------
// content type
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface ContentTypeFacts {
  /** The `Content-Type` field. */
  readonly contentType: string | undefined
  readonly hasContent: boolean
}

/**
 * Compiles media types, once, to a pure function that says whether a request may pass. Rules:
 *
 * 1. What has neither content nor a `Content-Type` passes.
 * 2. A `Content-Type` must be one of the types, content or not: with framing alone nobody can tell in HTTP/2.
 * 3. Content without a `Content-Type` is refused.
 *
 * A type is `"application/json"`, `"text/*"` or `"application/*+json"`, without parameters; case makes no difference.
 * Throws on anything else.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Validate } from "effect-middleware"
 *
 * const passes = Validate.contentTypePolicy(["application/json"])
 *
 * assert.ok(passes({ contentType: "application/json; charset=utf-8", hasContent: true }))
 * assert.ok(!passes({ contentType: undefined, hasContent: true }))
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const contentTypePolicy = (types: NonEmptyReadonlyArray<string>): (facts: ContentTypeFacts) => boolean => {
  if (types.length === 0) throw new TypeError("Validate: contentType has no types: list those that you take")
  const exact = new Set<string>()
  const patterns: Array<readonly [prefix: string, suffix: string]> = []
  for (const type of types) {
    const [, main, sub, suffix] =
      /^([!#$&^_.+\w-]+)\/(?:([!#$&^_.+\w-]+)|\*(\+[!#$&^_.\w-]+)?)$/.exec(type.toLowerCase()) ?? []
    if (main === undefined) {
      throw new TypeError(
        `Validate: contentType has ${JSON.stringify(type)}: write "application/json", "text/*" or "application/*+json"`
      )
    }
    if (sub === undefined) patterns.push([`${main}/`, suffix ?? ""])
    else exact.add(type.toLowerCase())
  }
  return ({ contentType, hasContent }) => {
    if (contentType === undefined) return !hasContent
    const type = mediaTypeOf(contentType)
    if (exact.has(type)) return true
    return /^[!#$&^_.+\w-]+\/[!#$&^_.+\w-]+$/.test(type) &&
      patterns.some(([prefix, suffix]) =>
        type.startsWith(prefix) && type.endsWith(suffix) && type.length > prefix.length + suffix.length
      )
  }
}

/**
 * Refuses content of other types, before anything reads it: with `UnsupportedContent`, 415.
 *
 * @example
 * ```ts
 * import { Middleware, Stack, Validate } from "effect-middleware"
 *
 * const stack = Stack.make(
 *   Middleware.forRoutes(["/notes/*"], Validate.contentType(["application/json"]))
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const contentType = <const Name extends string = "ContentType">(
  types: NonEmptyReadonlyArray<string>,
  options?: { readonly name?: Name | undefined }
): Middleware.Middleware<never, UnsupportedContent, never, never, Name, Middleware.Phases> => {
  const passes = contentTypePolicy(types)
  const refusal = Middleware.Refuse(new UnsupportedContent({ accept: types.join(", ").toLowerCase() }))
  return Middleware.make({
    name: options?.name ?? "ContentType" as Name,
    traits: ["guard"],
    request: ({ request }) =>
      passes({ contentType: request.headers["content-type"], hasContent: hasContent(request) }) ? undefined : refusal
  })
}
