import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import ts from "typescript"

const root = Path.resolve(import.meta.dirname, "..")
const read = (file: string) => Fs.readFileSync(Path.join(root, file), "utf8")
const list = (folder: string, extension: string) =>
  Fs.readdirSync(Path.join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(extension))
    .map((file) => `${folder}/${file.split(Path.sep).join("/")}`)
    .sort()

const pages = [
  ...Fs.readdirSync(root).filter((file) => file.endsWith(".md")),
  ...list("docs", ".md")
]

interface Block {
  readonly file: string
  /** The lines of the file that hold the opening and the closing fence, from 1. */
  readonly line: number
  readonly end: number
  readonly info: string
  readonly code: string
}

/** The fenced blocks of a page. What stands before the fence of a block is cut off each of its lines. */
const fencedBlocks = (file: string, lines: ReadonlyArray<string>): Array<Block> => {
  const blocks: Array<Block> = []
  for (let index = 0; index < lines.length; index++) {
    const fence = /^(\s*)(`{3,}|~{3,})\s*(.*?)\s*$/.exec(lines[index] ?? "")
    if (fence === null) continue
    const [, indent = "", mark = "", info = ""] = fence
    const start = index
    const code: Array<string> = []
    while (++index < lines.length && (lines[index] ?? "").trim() !== mark) {
      code.push((lines[index] ?? "").slice(indent.length))
    }
    if (index === lines.length) throw new Error(`${file}:${start + 1}: this fence is never closed`)
    blocks.push({ file, line: start + 1, end: index + 1, info, code: code.join("\n") })
  }
  return blocks
}

/** The lines of a source that stand in doc comments, without their ` * `; all others blank. */
const docLines = (source: string): Array<string> => {
  let inside = false
  return source.split("\n").map((line) => {
    if (!inside && /^\s*\/\*\*/.test(line)) {
      inside = !line.includes("*/")
      return ""
    }
    if (inside && line.includes("*/")) inside = false
    return inside ? line.replace(/^\s*\* ?/, "") : ""
  })
}

const options = ((): ts.CompilerOptions => {
  const { config } = ts.readConfigFile(Path.join(root, "tsconfig.json"), ts.sys.readFile)
  return ts.parseJsonConfigFileContent(config, ts.sys, root).options
})()

/** Compiles every block as a module of its own in docs/, and says of each what is wrong with it. */
const compile = (blocks: ReadonlyArray<Block>): Map<Block, Array<string>> => {
  const files = new Map(blocks.map((block, index) => [Path.join(root, "docs", `block-${index}.ts`), block]))
  const compilerOptions: ts.CompilerOptions = {
    ...options,
    moduleDetection: ts.ModuleDetectionKind.Force,
    noUnusedLocals: false
  }
  const host = ts.createCompilerHost(compilerOptions)
  const { fileExists, getSourceFile, readFile } = host
  host.fileExists = (name) => files.has(Path.normalize(name)) || fileExists(name)
  host.readFile = (name) => files.get(Path.normalize(name))?.code ?? readFile(name)
  host.getSourceFile = (name, languageVersion, ...rest) => {
    const block = files.get(Path.normalize(name))
    return block === undefined
      ? getSourceFile(name, languageVersion, ...rest)
      : ts.createSourceFile(name, block.code, languageVersion)
  }
  const program = ts.createProgram([...files.keys()], compilerOptions, host)
  return new Map([...files].map(([name, block]) => {
    const sourceFile = program.getSourceFile(name)
    assert.isDefined(sourceFile)
    const diagnostics = [...program.getSyntacticDiagnostics(sourceFile), ...program.getSemanticDiagnostics(sourceFile)]
    return [
      block,
      diagnostics.map(({ messageText, start }) => {
        const { line } = sourceFile.getLineAndCharacterOfPosition(start ?? 0)
        return `${block.file}:${block.line + 1 + line} ${ts.flattenDiagnosticMessageText(messageText, "\n")}`
      })
    ]
  }))
}

describe("code in the docs", () => {
  const blocks = [
    ...pages.flatMap((file) => fencedBlocks(file, read(file).split("\n"))),
    ...list("src", ".ts").flatMap((file) => fencedBlocks(file, docLines(read(file))))
  ]
  const canary = fencedBlocks("canary", [
    "1. A block with a mistake in its third line:",
    "   ```ts",
    "   import * as Effect from \"effect/Effect\"",
    "",
    "   export const x: string = Effect.runSync(Effect.succeed(1))",
    "   ```"
  ])
  const results = compile([...blocks.filter(({ info }) => info === "ts" || info === "ts error"), ...canary])

  it("is found, with its place", () => {
    assert.deepEqual(canary.flatMap((block) => results.get(block) ?? []), [
      "canary:5 Type 'number' is not assignable to type 'string'."
    ])
  })

  it("is `ts`, or `ts error` where the mistake is the point", () => {
    const others = blocks.filter(({ info }) => /^(?:ts|tsx|typescript|mts)\b/.test(info) && !/^ts( error)?$/.test(info))
    assert.strictEqual(others.map(({ file, info, line }) => `${file}:${line} ${info}`).join("\n"), "")
  })

  for (const [block, errors] of results) {
    if (block.file === "canary") continue
    const place = `${block.file}:${block.line}`
    if (block.info === "ts") it(`${place} compiles`, () => assert.strictEqual(errors.join("\n"), ""))
    else it(`${place} does not compile`, () => assert.isNotEmpty(errors))
  }
})

describe("examples", () => {
  it("are type-checked by `npm run check`", () => {
    const { config } = ts.readConfigFile(Path.join(root, "tsconfig.json"), ts.sys.readFile)
    const checked = new Set(ts.parseJsonConfigFileContent(config, ts.sys, root).fileNames.map(Path.normalize))
    const examples = list("docs/examples", ".ts")
    assert.isNotEmpty(examples)
    assert.deepEqual(examples.filter((file) => !checked.has(Path.join(root, file))), [])
  })
})

describe("links in the docs", () => {
  const prose = (file: string) => {
    const lines = read(file).split("\n")
    for (const { end, line } of fencedBlocks(file, lines)) lines.fill("", line - 1, end)
    return lines
  }

  /** The anchors that a page's headings get, repeated ones numbered. */
  const anchors = (file: string) => {
    const seen = new Map<string, number>()
    return prose(file).flatMap((line) => {
      const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line)?.[1]
      if (heading === undefined) return []
      const slug = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase()
        .replace(/[^\p{Letter}\p{Number}\p{Mark}_ -]/gu, "").replaceAll(" ", "-")
      const count = seen.get(slug) ?? 0
      seen.set(slug, count + 1)
      return [count === 0 ? slug : `${slug}-${count}`]
    })
  }

  const broken = (file: string, target: string) => {
    if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return false
    const [path = "", anchor] = target.split("#")
    const there = path === "" ? file : Path.posix.join(Path.posix.dirname(file), path)
    if (there.startsWith("../") || !Fs.existsSync(Path.join(root, there))) return true
    return anchor !== undefined && there.endsWith(".md") && !anchors(there).includes(anchor)
  }

  const linksOf = (line: string) => {
    const text = line.replace(/`[^`]*`/g, "code")
    return [
      ...text.matchAll(/\]\(\s*<?([^()\s>]+)>?[^()]*\)/g),
      ...text.matchAll(/^\s*\[[^\]]+\]:\s*<?([^\s>]+)/g)
    ].flatMap(([, target]) => target ?? [])
  }

  it.each(pages)("%s", (file) => {
    const places = prose(file).flatMap((line, index) =>
      linksOf(line).filter((target) => broken(file, target)).map((target) => `${file}:${index + 1} ${target}`)
    )
    assert.strictEqual(places.join("\n"), "")
  })

  it("are told broken from whole", () => {
    const page = "CONTRIBUTING.md"
    assert.deepEqual(linksOf("[a](b.md#c) ![d](<e.png> \"f\") `[g](h)` [`i`](j)"), ["b.md#c", "e.png", "j"])
    assert.isTrue(broken(page, "docs/no-such-page.md"))
    assert.isTrue(broken(page, `${page}#no-such-heading`))
    assert.isFalse(broken(page, "https://example.com/#any"))
    assert.isFalse(broken(page, page))
    assert.isFalse(broken(page, "src/index.ts"))
  })
})
