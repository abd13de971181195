import type * as ParseResult from "effect/ParseResult"
import type * as SchemaAST from "effect/SchemaAST"

/** Where input was not as a schema wants it, and how: nothing of the input itself. */
export interface Issue {
  /** A JSON pointer in a URI fragment (RFC 6901 section 6), as RFC 9457 section 3 has it in its example. */
  readonly pointer: string
  readonly reason: "missing" | "unexpected" | "invalid"
}

/** More than this many say nothing new. */
const most = 32

/**
 * The places at which decoding failed, each once. A path goes on as far as the schema names it: a key that only the
 * client knows is the client's word.
 */
export const issuesOf = (issue: ParseResult.ParseIssue): ReadonlyArray<Issue> => {
  const known = "ast" in issue && "_tag" in issue.ast ? namesIn(issue.ast) : none
  const found = new Map<string, Issue>()
  const add = (path: ReadonlyArray<string>, reason: Issue["reason"]) => {
    const pointer = ["#", ...path].join("/")
    if (found.size < most && !found.has(pointer)) found.set(pointer, { pointer, reason })
  }
  const walk = (issue: ParseResult.ParseIssue, path: ReadonlyArray<string>, open: boolean): void => {
    switch (issue._tag) {
      case "Pointer": {
        const keys = Array.isArray(issue.path) ? issue.path as ReadonlyArray<PropertyKey> : [issue.path as PropertyKey]
        const more: Array<string> = []
        for (const key of keys) {
          open &&= typeof key === "number" || known.has(String(key))
          if (open) more.push(segment(String(key)))
        }
        return walk(issue.issue, [...path, ...more], open)
      }
      case "Composite":
        for (const one of Array.isArray(issue.issues) ? issue.issues : [issue.issues]) walk(one, path, open)
        return
      case "Refinement":
      case "Transformation":
        return walk(issue.issue, path, open)
      case "Missing":
        return add(path, "missing")
      case "Unexpected":
        return add(path, "unexpected")
      case "Forbidden":
      case "Type":
        return add(path, "invalid")
    }
  }
  walk(issue, [], true)
  // what is inside says it better: of a union every member is reported, and one of them is the whole
  const pointers = [...found.keys()]
  return [...found.values()].filter(({ pointer }) => !pointers.some((other) => other.startsWith(`${pointer}/`)))
}

const segment = (key: string) => encodeURIComponent(key.replace(/~/g, "~0").replace(/\//g, "~1"))

const none: ReadonlySet<string> = new Set()
const namesOf = new WeakMap<SchemaAST.AST, ReadonlySet<string>>()

/** Every property that a schema names, at any depth. */
const namesIn = (root: SchemaAST.AST): ReadonlySet<string> => {
  const before = namesOf.get(root)
  if (before !== undefined) return before
  const names = new Set<string>()
  namesOf.set(root, names)
  const seen = new Set<SchemaAST.AST>()
  const walk = (ast: SchemaAST.AST): void => {
    if (seen.has(ast)) return
    seen.add(ast)
    switch (ast._tag) {
      case "TypeLiteral":
        for (const { name, type } of ast.propertySignatures) {
          names.add(String(name))
          walk(type)
        }
        return ast.indexSignatures.forEach(({ type }) => walk(type))
      case "TupleType":
        return [...ast.elements, ...ast.rest].forEach(({ type }) => walk(type))
      case "Union":
        return ast.types.forEach(walk)
      case "Refinement":
        return walk(ast.from)
      case "Transformation":
        walk(ast.from)
        return walk(ast.to)
      case "Suspend":
        return walk(ast.f())
      case "Declaration":
        return ast.typeParameters.forEach(walk)
    }
  }
  walk(root)
  return names
}
