import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck, Option, ParseResult, Schema, SchemaAST } from "effect"
import { type Issue, issuesOf } from "../../src/internal/issues.js"

const decode = <A, I>(schema: Schema.Schema<A, I>, input: unknown, onExcessProperty: "ignore" | "error" = "ignore") =>
  Either.match(ParseResult.decodeUnknownEither(schema, { errors: "all", onExcessProperty })(input), {
    onLeft: issuesOf,
    onRight: () => []
  })
const told = (issues: ReadonlyArray<Issue>) => issues.map(({ pointer, reason }) => `${pointer} ${reason}`)

const Leaf = Schema.Struct({ n: Schema.Number })
interface Tree {
  readonly value: number
  readonly children: ReadonlyArray<Tree>
}
const Tree: Schema.Schema<Tree> = Schema.Struct({
  value: Schema.Number,
  children: Schema.Array(Schema.suspend(() => Tree))
})
class Money extends Schema.Class<Money>("Money")({ amount: Schema.NumberFromString }) {}

describe("issuesOf", () => {
  it.each<[rule: string, issues: ReadonlyArray<Issue>, told: ReadonlyArray<string>]>([
    ["the whole", decode(Leaf, "secret"), ["# invalid"]],
    ["a property", decode(Leaf, { n: "secret" }), ["#/n invalid"]],
    ["one that is missing", decode(Leaf, {}), ["#/n missing"]],
    ["one too many, without its name", decode(Leaf, { n: 1, secret: 1 }, "error"), ["# unexpected"]],
    ["several", decode(Schema.Struct({ a: Leaf, b: Leaf }), { a: {}, b: { n: "" } }), [
      "#/a/n missing",
      "#/b/n invalid"
    ]],
    ["an element", decode(Schema.Array(Leaf), [{ n: 1 }, { n: "" }]), ["#/1/n invalid"]],
    ["an element of a tuple", decode(Schema.Tuple(Leaf, Schema.String), [{ n: "" }, 1]), [
      "#/0/n invalid",
      "#/1 invalid"
    ]],
    ["the rest of a tuple", decode(Schema.Tuple([Schema.String], Leaf), ["", { n: "" }]), ["#/1/n invalid"]],
    ["a refinement", decode(Schema.Struct({ a: Schema.NonEmptyString }), { a: "" }), ["#/a invalid"]],
    [
      "inside a refinement",
      decode(Schema.Struct({ a: Leaf.pipe(Schema.filter(() => true)) }), { a: { n: "" } }),
      ["#/a/n invalid"]
    ],
    ["a transformation", decode(Schema.Struct({ a: Schema.NumberFromString }), { a: "secret" }), ["#/a invalid"]],
    [
      "inside a transformation",
      decode(Schema.Struct({ a: Schema.parseJson(Leaf) }), { a: "{\"n\":\"\"}" }),
      ["#/a/n invalid"]
    ],
    ["of a class", decode(Schema.Struct({ price: Money }), { price: { amount: "secret" } }), [
      "#/price/amount invalid"
    ]],
    ["of a recursive schema", decode(Tree, { value: 1, children: [{ value: "", children: [{}] }] }), [
      "#/children/0/value invalid",
      "#/children/0/children/0/value missing",
      "#/children/0/children/0/children missing"
    ]],
    ["of an option", decode(Schema.Struct({ a: Schema.Option(Leaf) }), { a: { _tag: "Some", value: { n: "" } } }), [
      "#/a/value/n invalid"
    ]],
    [
      "of a declaration with a type in it",
      decode(Schema.Struct({ a: Schema.OptionFromSelf(Leaf) }), { a: 1 }),
      ["#/a invalid"]
    ],
    [
      "of a declaration with names of its own",
      decode(Schema.Struct({ a: Schema.OptionFromSelf(Leaf) }), { a: Option.some({ n: "" }) }),
      ["#/a/n invalid"]
    ],
    [
      "of a schema that is there later",
      decode(Schema.Struct({ a: Schema.suspend(() => Leaf) }), { a: { n: "" } }),
      ["#/a/n invalid"]
    ],
    // each once
    [
      "one place in two members of a union",
      decode(Schema.Union(Leaf, Schema.Struct({ n: Schema.Boolean })), { n: "" }),
      [
        "#/n invalid"
      ]
    ],
    [
      "what is inside says it better",
      decode(Schema.Struct({ a: Schema.Union(Schema.String, Leaf) }), { a: { n: "" } }),
      [
        "#/a/n invalid"
      ]
    ],
    [
      "a name that begins like another",
      decode(Schema.Struct({ a: Schema.Number, ab: Leaf }), { a: "", ab: { n: "" } }),
      [
        "#/a invalid",
        "#/ab/n invalid"
      ]
    ],
    ["the first reason of a place", decode(Schema.Union(Schema.Struct({ a: Leaf }), Leaf), {}), [
      "#/a missing",
      "#/n missing"
    ]],
    // names
    ["a slash and a tilde", decode(Schema.Struct({ "a/b~c": Schema.Number }), {}), ["#/a~1b~0c missing"]],
    ["what a URI cannot have", decode(Schema.Struct({ "a b%ü": Schema.Number }), {}), ["#/a%20b%25%C3%BC missing"]],
    // what only the client knows
    [
      "a key of a record",
      decode(Schema.Struct({ by: Schema.Record({ key: Schema.String, value: Leaf }) }), { by: { secret: { n: "" } } }),
      ["#/by invalid"]
    ],
    [
      "a key of a record that is a name of the schema",
      decode(Schema.Record({ key: Schema.String, value: Leaf }), { n: { n: "" } }),
      ["#/n/n invalid"]
    ],
    [
      "and nothing under a key that is not known",
      decode(Schema.Record({ key: Schema.String, value: Schema.Array(Leaf) }), { secret: [{ n: "" }] }),
      ["# invalid"]
    ],
    [
      "names of values of a record are known",
      decode(Schema.Struct({ r: Schema.Record({ key: Schema.Literal("a"), value: Leaf }) }), { r: { a: { n: "" } } }),
      ["#/r/a/n invalid"]
    ]
  ])("%s", (_, issues, expected) => {
    assert.deepStrictEqual(told(issues), expected)
  })

  it("a path of several keys, as those who write their own issues have it", () => {
    const { ast } = Schema.Struct({ a: Schema.Struct({ b: Schema.Number }) })
    const type = new ParseResult.Type(ast, "secret")
    const issue = new ParseResult.Composite(ast, {}, new ParseResult.Pointer(["a", "b"], {}, type))
    assert.deepStrictEqual(told(issuesOf(issue)), ["#/a/b invalid"])
    const beyond = new ParseResult.Composite(ast, {}, new ParseResult.Pointer(["a", "secret", "b"], {}, type))
    assert.deepStrictEqual(told(issuesOf(beyond)), ["#/a invalid"])
    const both = [new ParseResult.Missing(new SchemaAST.Type(ast)), type].map((issue) =>
      new ParseResult.Pointer("a", {}, issue)
    ) as [
      ParseResult.Pointer,
      ParseResult.Pointer
    ]
    assert.deepStrictEqual(told(issuesOf(new ParseResult.Composite(ast, {}, both))), ["#/a missing"])
    // without a schema around it no name is known
    assert.deepStrictEqual(told(issuesOf(new ParseResult.Pointer("secret", {}, type))), ["# invalid"])
    assert.deepStrictEqual(told(issuesOf(new ParseResult.Forbidden(ast, {}))), ["# invalid"])
  })

  it("no more than thirty-two", () => {
    const issues = decode(Schema.Array(Leaf), Array.from({ length: 100_000 }, () => ({})))
    assert.deepStrictEqual([issues.length, issues[0]!.pointer, issues[31]!.pointer], [32, "#/0/n", "#/31/n"])
  })

  it.prop("nothing of the client's is in it", [
    FastCheck.dictionary(FastCheck.stringMatching(/^secret/), FastCheck.object({ key: FastCheck.constant("secret") })),
    FastCheck.stringMatching(/^secret/)
  ], ([extra, value]) => {
    const schema = Schema.Struct({
      leaf: Leaf,
      any: Schema.Record({ key: Schema.String, value: Schema.Union(Leaf, Schema.Array(Leaf)) })
    })
    const input = { leaf: { n: value }, any: { ...extra, [value]: value }, ...extra }
    assert.notInclude(JSON.stringify(decode(schema, input, "error")), "secret")
  })
})
