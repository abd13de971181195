/** What docs/coming-from-starlette.md says that Starlette and this package answer, asked of both. */
import * as Platform from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import * as EffectModule from "effect"
import { Effect, Layer, Logger } from "effect"
import * as Package from "effect-middleware"
import { Testing } from "effect-middleware"
import * as Jwt from "effect-middleware/Authentication/Jwt"
import * as Fs from "node:fs"
import * as Path from "node:path"
import ts from "typescript"
import { type Answer, install, isMissing, runAll, type Sent, version } from "./utils/starlette.js"

const page = Fs.readFileSync(Path.resolve(import.meta.dirname, "../docs/coming-from-starlette.md"), "utf8")

interface Row {
  readonly line: string
  readonly sent: Sent
  readonly theirs: string
  readonly ours: string
}

interface Section {
  readonly title: string
  readonly python: ReadonlyArray<string>
  readonly typescript: ReadonlyArray<string>
  readonly rows: ReadonlyArray<Row>
}

const spansOf = (cell: string) => Array.from(cell.matchAll(/`([^`]*)`/g), ([, text = ""]) => text)
const fieldOf = (span: string) => /^([a-z][a-z0-9-]*): ?(.*)$/.exec(span)
const bodyOf = (span: string) => /^"(.*)"$/.exec(span)?.[1]

/** `` `POST /a`, `x-a: b`, `"the body"` `` */
const sentOf = (cell: string): Sent => {
  const [target = "", ...rest] = spansOf(cell)
  const [method = "", url = ""] = target.split(" ")
  const headers: Record<string, string> = {}
  let body = ""
  for (const span of rest) {
    const field = fieldOf(span)
    if (field) headers[field[1]!] = field[2]!
    else body = bodyOf(span) ?? assert.fail(`neither a field nor a body: ${span}`)
  }
  return { method, url: url.startsWith("/") ? `http://localhost${url}` : url, headers, body }
}

const sections: ReadonlyArray<Section> = page.split(/^(?=#{2,3} )/m).map((text) => {
  const blocks = (info: string) =>
    Array.from(text.matchAll(new RegExp(`^\`\`\`${info}\\n(.*?)^\`\`\`$`, "gms")), ([, code = ""]) => code)
  const rows = text.split("\n").flatMap((line): Array<Row> => {
    const [, request = "", theirs = "", ours = ""] = /^\| (`[A-Z]+ .*?) \| (.*?) \| (.*?) \|$/.exec(line) ?? []
    return request === ""
      ? []
      : [{ line, sent: sentOf(request), theirs, ours: ours === "the same" ? theirs : ours }]
  })
  return { title: /^#+ (.*)$/m.exec(text)![1]!, python: blocks("python"), typescript: blocks("ts"), rows }
})

/** Begins every other block of Python. */
const prelude = sections.find(({ title }) => title === "How to read this page")!.python[0]!
const tried = sections.filter(({ rows }) => rows.length > 0)

/** What a cell says: a status, fields, fields that are not there, a body. `…` is any text. */
const check = (cell: string, answer: Answer) => {
  const fits = (pattern: string, text: string) =>
    new RegExp(`^${pattern.split("…").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join(".*")}$`, "s")
      .test(text)
  const wrong: Array<string> = []
  if (!cell.startsWith(String(answer.status))) wrong.push(`status ${answer.status}`)
  for (const [, name = ""] of cell.matchAll(/\bno `([a-z-]+)`/g)) {
    if (answer.headers[name] !== undefined) wrong.push(`${name}: ${answer.headers[name]}`)
  }
  for (const span of spansOf(cell)) {
    const field = fieldOf(span)
    const body = bodyOf(span)
    if (field && !fits(field[2]!, answer.headers[field[1]!] ?? "")) {
      wrong.push(`${field[1]}: ${answer.headers[field[1]!]}`)
    }
    if (body !== undefined && !fits(body, answer.body)) wrong.push(`"${answer.body}"`)
  }
  return wrong
}

const modules: Readonly<Record<string, unknown>> = {
  "@effect/platform": Platform,
  "effect": EffectModule,
  "effect-middleware": Package,
  "effect-middleware/Authentication/Jwt": Jwt
}

interface Exports {
  readonly app: Platform.HttpApp.Default<unknown>
  readonly layer?: Layer.Layer<never>
}

/** Runs a block as the module that it is. Whether it compiles, test/docs.test.ts asks. */
const evaluate = (code: string): Exports => {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 }
  })
  const exports = {}
  const require = (name: string) => modules[name] ?? assert.fail(`no module of that name here: ${name}`)
  new Function("require", "exports", outputText)(require, exports)
  return exports as Exports
}

describe("coming from Starlette", () => {
  it("every block of Python stands beside one of ours, and has requests", () => {
    const alone = sections.filter(({ python, rows, title, typescript }) =>
      title !== "How to read this page" && python.length > 0 &&
      !(python.length === 1 && typescript.length === 1 && rows.length > 0)
    )
    assert.deepStrictEqual(alone.map(({ title }) => title), [])
    assert.isAbove(tried.length, 30)
  })

  it("an answer that is another is seen", () => {
    const answer = { status: 200, headers: { "x-a": "1" }, body: "hello" }
    assert.deepStrictEqual(check("200, `x-a: …`, no `x-b`, `\"h…o\"`", answer), [])
    assert.deepStrictEqual(check("400, `x-a: 2`, no `x-a`, `\"h\"`", answer), [
      "status 200",
      "x-a: 1",
      "x-a: 1",
      "\"hello\""
    ])
  })

  for (const { rows, title, typescript: [code = ""] } of tried) {
    it.scopedLive(`ours: ${title}`, () =>
      Effect.gen(function*() {
        const { app, layer = Layer.empty } = evaluate(code)
        const services = yield* Layer.build(Layer.merge(layer, Logger.remove(Logger.defaultLogger)))
        const send = yield* Effect.provide(Testing.client(app), services)
        for (const { line, ours, sent } of rows) {
          const { method, url: path, headers: fields, body } = sent
          const { body: text, cookies, headers, status } = yield* send({
            method,
            path,
            headers: fields,
            ...(body === "" ? {} : { body })
          })
          const answer = {
            status,
            headers: { ...headers, ...(cookies.length === 0 ? {} : { "set-cookie": cookies.join(", ") }) },
            body: text
          }
          assert.deepStrictEqual(check(ours, answer), [], line)
        }
      }))
  }

  describe.skipIf(isMissing && process.env["CI"] !== "true")(
    isMissing ? `theirs (Starlette ${version}; ${install})` : "theirs",
    () => {
      it("every row is what Starlette answers", () => {
        const replies = runAll(
          tried.map(({ python: [code = ""], rows }) => [prelude + code, rows.map(({ sent }) => sent)])
        )
        const wrong = tried.flatMap(({ rows, title }, section) =>
          rows.flatMap(({ line, theirs }, row) =>
            check(theirs, replies[section]![row]!).map((what) => `${title}: ${line}: ${what}`)
          )
        )
        assert.deepStrictEqual(wrong, [])
      })

      it("the page names the version", () => {
        assert.include(page, `Starlette ${version}`)
      })
    }
  )
})
