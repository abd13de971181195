import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import * as Ts from "typescript"
import { afterAll, vi } from "vitest"
import { framesReader, type Options, parseFrame, parseStack, type Site } from "../../src/internal/stackFrames.js"
import { hostile } from "./hostile.js"

const temporary = Fs.realpathSync(Fs.mkdtempSync(Path.join(Os.tmpdir(), "frames-")))
afterAll(() => Fs.rmSync(temporary, { recursive: true, force: true }))

const write = (name: string, text: string): string => {
  const file = Path.join(temporary, name)
  Fs.mkdirSync(Path.dirname(file), { recursive: true })
  Fs.writeFileSync(file, text)
  return file
}
const numbered = (count: number) => Array.from({ length: count }, (_, index) => `line ${index + 1}`).join("\n")
const errorAt = (...locations: ReadonlyArray<string>) => {
  const error = new Error("broken")
  error.stack = ["Error: broken", ...locations.map((location) => `    at ${location}`)].join("\n")
  return error
}

const reader = (options: Partial<Options> = {}) => {
  const read = framesReader({ show: (line) => line, ...options })
  return ({ message, stack }: Error, more?: ReadonlyArray<Site>) => read(stack!, message, more)
}
const framesOf = (error: Error, options?: Partial<Options>) => reader(options)(error)

describe("parseFrame", () => {
  const table: ReadonlyArray<
    readonly [text: string, site: readonly [string | undefined, string, number, number] | undefined]
  > = [
    ["f (/a/b.js:1:2)", ["f", "/a/b.js", 1, 2]],
    ["/a/b.js:1:2", [undefined, "/a/b.js", 1, 2]],
    ["/a/b.js:1", [undefined, "/a/b.js", 1, 1]],
    ["async f (/a/b.js:1:2)", ["f", "/a/b.js", 1, 2]],
    ["async /a/b.js:1:2", [undefined, "/a/b.js", 1, 2]],
    ["async file:///a/b.js:1:2", [undefined, "/a/b.js", 1, 2]],
    ["new C (file:///a/b%20c.js:10:20)", ["new C", "/a/b c.js", 10, 20]],
    ["C.f [as g] (/a.js:1:2)", ["C.f [as g]", "/a.js", 1, 2]],
    ["Object.<anonymous> (/a.js:1:2)", [undefined, "/a.js", 1, 2]],
    ["<anonymous> (/a.js:1:2)", [undefined, "/a.js", 1, 2]],
    ["EffectPrimitive.effect_instruction_i0 (/a.js:1:2)", [undefined, "/a.js", 1, 2]],
    ["file:///a/b.js?v=1:3:4", [undefined, "/a/b.js", 3, 4]],
    ["/a/b.js?v=1:3:4", [undefined, "/a/b.js", 3, 4]],
    ["f (/app/(group)/b (1).js:1:2)", ["f", "/app/(group)/b (1).js", 1, 2]],
    ["get (x) (/a.js:1:2)", ["get (x)", "/a.js", 1, 2]],
    ["f (C:\\a\\b.js:1:2)", ["f", "C:\\a\\b.js", 1, 2]],
    ["file:///C:/a/b.js:1:2", [undefined, "C:/a/b.js", 1, 2]],
    ["file://host/a.js:1:2", [undefined, "//host/a.js", 1, 2]],
    ["f (node:internal/x:1:2)", ["f", "node:internal/x", 1, 2]],
    ["webpack://app/./x.ts:1:2", [undefined, "webpack://app/./x.ts", 1, 2]],
    ["f (<anonymous>)", undefined],
    ["<anonymous>", undefined],
    ["Array.map (<anonymous>)", undefined],
    ["f (native)", undefined],
    ["Promise.all (index 0)", undefined],
    ["eval (eval at f (/a.js:1:2), <anonymous>:1:1)", undefined],
    ["f (eval at g (/a.js:1:2))", undefined],
    ["wasm://wasm/0001:1:2", undefined],
    ["f (a.js:1:2)", undefined],
    ["file:///%ZZ:1:2", undefined],
    ["", undefined],
    ["()", undefined]
  ]
  it.each(table)("%s", (text, site) => {
    const found = parseFrame(text)
    assert.deepStrictEqual(found && [found.function, found.file, found.line, found.column] as const, site)
  })
  // what is quadratic somewhere takes longer than a test may
  it("takes time in proportion", () => {
    for (
      const text of [
        ...hostile.map(([, text]) => text),
        " (".repeat(50_000),
        " (/".repeat(30_000),
        " (a:".repeat(25_000)
      ]
    ) {
      for (const line of [text, `${text}:1:1`, `${text.slice(0, 4_000)}:1:1`]) {
        parseFrame(line)
        parseStack(`Error: x\n    at ${line}`, "x")
        parseStack(`Error: x\n    at ${line}`, "y")
      }
    }
  })
})

describe("parseStack", () => {
  const forged = "no\n    at secrets (/app/secrets.ts:1:1)\n    at x (/etc/passwd:1:1)"
  const files = (stack: string, message: string) => parseStack(stack, message).sites.map(({ file }) => file)
  it("what a message says of frames is no frame", () => {
    assert.deepStrictEqual(files(`Error: ${forged}\n    at f (/a.js:1:2)`, forged), ["/a.js"])
    assert.isTrue(parseStack(`Error: ${forged}`, forged).certain)
    const error = new TypeError(forged)
    const found = files(error.stack!, error.message)
    assert.isAbove(found.length, 0)
    for (const file of found) assert.notMatch(file, /secrets|passwd/)
  })
  it("where the message was set later, the lines at the end are frames, and not certain", () => {
    const stack = "Error: a\n    at x (/forged.js:1:1)\nmore\n    at f (/a.js:1:2)\n    at g (/b.js:1:2)\n"
    assert.deepStrictEqual(files(stack, "other"), ["/a.js", "/b.js"])
    assert.isFalse(parseStack(stack, "other").certain)
  })
  it.each([
    ["a message cut shorter", "Error: a b\n    at f (/a.js:1:2)", "a", false],
    ["a message that is emptied", "Error: a\n    at f (/a.js:1:2)", "", false],
    ["no message", "Error\n    at f (/a.js:1:2)", "", true],
    ["a message that is the name", "Error: Error\n    at f (/a.js:1:2)", "Error", true],
    ["no name", "a\n    at f (/a.js:1:2)", "a", true],
    ["a code beside the name", "TypeError [ERR_X]: a\n    at f (/a.js:1:2)", "a", true],
    ["a message on a line of its own", "Error: x\n    at f (/a.js:1:2)", "at f", false],
    ["nothing else", "Error: a", "a", true]
  ])("%s", (_, stack, message, certain) => {
    assert.strictEqual(parseStack(stack, message).certain, certain)
    assert.deepStrictEqual(files(stack, message), stack.includes("/a.js") ? ["/a.js"] : [])
  })
  it("has no frame of absurd length", () => {
    assert.deepStrictEqual(files(`Error: a\n    at ${"f".repeat(4_096)} (/a.js:1:2)\n    at f (/b.js:1:2)`, "a"), [
      "/b.js"
    ])
  })
  it("has 50 frames at most", () => {
    const stack = `Error: a${"\n    at f (/a.js:1:2)".repeat(60)}`
    assert.lengthOf(files(stack, "a"), 50)
    assert.lengthOf(files(stack, "b"), 50)
  })
  it.prop("no message makes a frame", [
    FastCheck.array(FastCheck.constantFrom("\n", "    at ", "f (/forged.js:1:1)", "Error: ", "x", "(", ")"))
  ], ([parts]) => {
    const error = new Error(parts.join(""))
    for (const file of files(error.stack!, error.message)) assert.notInclude(file, "forged")
  })
})

describe("frames", () => {
  it("are drawn with the lines around them, relative to the working directory, with a link", async () => {
    const file = write("app/src/a b.ts", numbered(20))
    const [frame, second, third] = await framesOf(
      errorAt(`f (${pathToFileURL(file)}:10:3)`, `${file}:2:1`, `${file}:20:1`),
      {
        cwd: Path.join(temporary, "app"),
        editor: "vscode://file/{file}:{line}:{column}?{other}"
      }
    )
    assert.deepStrictEqual(frame, {
      function: "f",
      file: "src/a b.ts",
      line: 10,
      column: 3,
      own: true,
      source: { from: 5, lines: Array.from({ length: 11 }, (_, index) => `line ${index + 5}`) },
      link: `vscode://file/${temporary}/app/src/a%20b.ts:10:3?{other}`
    })
    assert.deepStrictEqual([second?.source?.from, second?.source?.lines.length], [1, 7])
    assert.deepStrictEqual([third?.source?.from, third?.source?.lines.length], [15, 6])
  })

  it("of a folder beside the working directory keep their path", async () => {
    const file = write("application/x.ts", "x")
    const [frame] = await framesOf(errorAt(`${file}:1:1`), { cwd: Path.join(temporary, "app") })
    assert.strictEqual(frame?.file, file)
    assert.isUndefined(frame?.link)
  })

  it("of Windows are links with slashes", async () => {
    const [frame] = await framesOf(errorAt("C:\\app\\src\\x.ts:1:1"), { cwd: "C:\\app", editor: "e://{file}" })
    assert.deepStrictEqual([frame?.file, frame?.link], ["src/x.ts", "e://C:/app/src/x.ts"])
  })

  it("of Node, of packages and of Effect are not own, and of Effect there is no source", async () => {
    const effect = write("node_modules/effect/dist/a.js", "effect")
    const platform = write("node_modules/@effect/platform/dist/a.js", "platform")
    const first = write("node_modules/first/a.js", "first")
    const second = write("node_modules/second/a.js", "second")
    const own = write("own.js", "own")
    const frames = await framesOf(
      errorAt("f (node:fs:1:1)", ...[effect, platform, first, own, second].map((file) => `${file}:1:1`))
    )
    assert.deepStrictEqual(frames.map(({ own, source }) => [own, source?.lines[0]]), [
      [false, undefined],
      [false, undefined],
      [false, undefined],
      [false, "first"],
      [true, "own"],
      [false, "second"]
    ])
  })

  it.each<readonly [string, string, string, boolean]>([
    ["of another kind", "secret.txt", "x", true],
    ["of no kind", "passwd", "x", true],
    ["environment", ".env", "x", true],
    ["too large", "large.ts", "x".repeat(2 * 1024 * 1024 + 1), true],
    ["as large as may be", "fits.ts", "x".repeat(2 * 1024 * 1024), false],
    ...["js", "mjs", "cjs", "ts", "mts", "cts", "jsx", "tsx"].map((kind) => [kind, `a.${kind}`, "x", false] as const)
  ])("a file %s", async (_, name, text, hidden) => {
    const [frame] = await framesOf(errorAt(`${write(`kinds/${name}`, text)}:1:1`))
    assert.strictEqual(frame?.source === undefined, hidden)
    assert.strictEqual(frame?.line, 1)
  })

  it("a folder, a pipe, what is missing, and a line that is not there have no source", async () => {
    Fs.mkdirSync(Path.join(temporary, "folder.ts"))
    execFileSync("mkfifo", [Path.join(temporary, "pipe.ts")])
    const short = write("short.ts", "x")
    const frames = await framesOf(
      errorAt(
        `${temporary}/folder.ts:1:1`,
        `${temporary}/pipe.ts:1:1`,
        `${temporary}/missing.ts:1:1`,
        `${short}:2:1`,
        `${short}:0:1`,
        "/dev/zero:1:1"
      )
    )
    assert.deepStrictEqual(frames.map(({ source }) => source), Array(6).fill(undefined))
  })

  it("of another machine have no source, nor have links to what is no program", async () => {
    const file = write("machine/a.ts", "x")
    write("machine/passwd", "root")
    Fs.symlinkSync(file, `${temporary}/machine/b.ts`)
    Fs.symlinkSync(`${temporary}/machine/passwd`, `${temporary}/machine/c.ts`)
    const sources = async (...files: ReadonlyArray<string>) =>
      (await framesOf(errorAt(...files.map((file) => `${file}:1:1`)))).map(({ source }) => source?.lines)
    const [a, b, c] = ["a", "b", "c"].map((name) => `${temporary}/machine/${name}.ts`) as [string, string, string]
    assert.deepStrictEqual(await sources(a, `/${a}`, `file://host${a}`, `\\\\host\\${a}`, `${a}\0.ts`, b, c), [
      ["x"],
      undefined,
      undefined,
      undefined,
      undefined,
      ["x"],
      undefined
    ])
  })

  it("that a client may have written show the program's own files alone", async () => {
    const outside = write("outside/a.ts", "outside")
    const inside = write("app/inside.ts", "inside")
    const dependency = write("app/node_modules/x/a.js", "x")
    const error = errorAt(
      `${outside}:1:1`,
      `${inside}:1:1`,
      `${dependency}:1:1`,
      `${temporary}/app/../outside/a.ts:1:1`
    )
    error.message = "set later"
    const frames = await framesOf(error, { cwd: Path.join(temporary, "app") })
    assert.deepStrictEqual(frames.map(({ source }) => source?.lines[0]), [undefined, "inside", "x", undefined])
    const more: Site = { function: "span", file: outside, line: 1, column: 1 }
    const all = await reader({ cwd: Path.join(temporary, "app") })(error, [more])
    assert.deepStrictEqual([all[4]?.function, all[4]?.source?.lines], ["span", ["outside"]])
  })

  it("lines of a minified program are cut around the column, and shown as they may be", async () => {
    const text = `${"a".repeat(1000)}HERE${"b".repeat(1000)}`
    const file = write("minified.js", `${"c".repeat(500)}\n${text}\nshort`)
    const [frame, start, end] = await framesOf(
      errorAt(`${file}:2:1001`, `${file}:2:1`, `${file}:2:2004`),
      { show: (line) => line.replace("short", "shown") }
    )
    assert.deepStrictEqual(frame?.source?.lines, [
      `${"c".repeat(300)}…`,
      `…${"a".repeat(150)}HERE${"b".repeat(146)}…`,
      "shown"
    ])
    assert.strictEqual(start?.source?.lines[1], `${"a".repeat(300)}…`)
    assert.strictEqual(end?.source?.lines[1], `…${"b".repeat(300)}`)
  })

  it("one request reads so many files, and each once", async () => {
    const read = reader()
    const files = Array.from({ length: 45 }, (_, index) => write(`many/${index}.ts`, `${index}`))
    const frames = await read(errorAt(...files.map((file) => `${file}:1:1`)))
    assert.lengthOf(frames.filter(({ source }) => source !== undefined), 40)
    Fs.writeFileSync(files[0]!, "changed")
    const [again, other] = await read(errorAt(`${files[0]}:1:1`, `${write("many/x.ts", "x")}:1:1`))
    assert.deepStrictEqual([again?.source?.lines, other?.source], [["0"], undefined])
  })
})

describe("source maps", () => {
  const typescript = [
    "interface Unused { readonly a: string }",
    "",
    "export const fail = (name: string): never => {",
    "  throw new Error(name)",
    "}",
    ""
  ].join("\n")
  const thrown = async (file: string): Promise<Error> => {
    const { fail } = await import(/* @vite-ignore */ pathToFileURL(file).href)
    try {
      return fail("compiled")
    } catch (error) {
      return error as Error
    }
  }
  const compile = (options: Ts.CompilerOptions) =>
    Ts.transpileModule(typescript, {
      fileName: "fail.ts",
      compilerOptions: { module: Ts.ModuleKind.ESNext, target: Ts.ScriptTarget.ES2022, ...options }
    })
  const assertMapped = async (file: string, original: string) => {
    // as Node has it where nothing maps: the place in what was compiled
    const text = Fs.readFileSync(file, "utf8").split("\n")
    const line = text.findIndex((one) => one.includes("throw")) + 1
    const [frame] = await framesOf(errorAt(`fail (${file}:${line}:${text[line - 1]!.indexOf("new") + 1})`), { cwd: "" })
    assert.deepStrictEqual([frame?.file, frame?.line, frame?.column], [original, 4, 9])
    assert.strictEqual(frame?.source?.lines[3], "  throw new Error(name)")
    assert.strictEqual(frame?.source?.from, 1)
  }

  it("inline, with the source in it", async () => {
    const { outputText } = compile({ inlineSourceMap: true, inlineSources: true })
    await assertMapped(write("inline/fail.js", outputText), `${temporary}/inline/fail.ts`)
  })
  it("percent-encoded", async () => {
    const { outputText, sourceMapText } = compile({ sourceMap: true, inlineSources: true })
    const url = `data:application/json,${encodeURIComponent(sourceMapText!)}`
    await assertMapped(
      write("percent/fail.js", outputText.replace(/sourceMappingURL=.*/, () => `sourceMappingURL=${url}`)),
      `${temporary}/percent/fail.ts`
    )
  })
  it("in a file beside it, with the source in a file of its own, under a root", async () => {
    const { outputText, sourceMapText } = compile({ sourceMap: true, sourceRoot: "../src/" })
    write("beside/src/fail.ts", typescript)
    write("beside/dist/fail.js.map", sourceMapText!)
    await assertMapped(write("beside/dist/fail.js", outputText), `${temporary}/beside/src/fail.ts`)
  })
  it("in sections", async () => {
    const { outputText, sourceMapText } = compile({ sourceMap: true, inlineSources: true })
    const sections = {
      version: 3,
      sections: [{ offset: { line: 0, column: 0 }, map: JSON.parse(sourceMapText!) as unknown }]
    }
    write("sections/fail.ts", typescript)
    write("sections/fail.js.map", JSON.stringify(sections))
    await assertMapped(write("sections/fail.js", outputText), `${temporary}/sections/fail.ts`)
  })
  it("on another machine is not read", async () => {
    const { outputText, sourceMapText } = compile({ sourceMap: true, inlineSources: true })
    const map = write("host/fail.js.map", sourceMapText!)
    const file = write("host/fail.js", outputText.replace("fail.js.map", `/${map}`))
    const [frame] = await framesOf(errorAt(`fail (${file}:2:11)`))
    assert.strictEqual(frame?.file, file)
  })
  it("in a file of another name is not read", async () => {
    const { outputText, sourceMapText } = compile({ sourceMap: true, inlineSources: true })
    write("named/map.json", sourceMapText!)
    const file = write("named/fail.js", outputText.replace("fail.js.map", "map.json"))
    const [frame] = await framesOf(errorAt(`fail (${file}:2:11)`))
    assert.strictEqual(frame?.file, file)
  })
  it("of what the compiler has added leads nowhere, and an absolute source is under no root", async () => {
    const { outputText } = compile({ sourceMap: true })
    const file = write("added/fail.js", outputText)
    const mapped = async (map: object) => {
      write("added/fail.js.map", JSON.stringify({ version: 3, ...map }))
      const [frame] = await framesOf(errorAt(`fail (${file}:1:1)`))
      return [frame?.file, frame?.line]
    }
    assert.deepStrictEqual(await mapped({ sources: ["a.ts"], mappings: "A,CAAA" }), [file, 1])
    assert.deepStrictEqual(await mapped({ sourceRoot: "/root", sources: ["/a.ts"], mappings: "AAAA" }), ["/a.ts", 1])
    assert.deepStrictEqual(await mapped({ sourceRoot: "/root", sources: ["a.ts"], mappings: "AAAA" }), [
      "/root/a.ts",
      1
    ])
  })
  it("of a bundler, which names its sources by a scheme", async () => {
    const { outputText, sourceMapText } = compile({ sourceMap: true, inlineSources: true })
    const map = JSON.parse(sourceMapText!) as { sources: Array<string> }
    write("bundle/fail.js.map", JSON.stringify({ ...map, sources: ["webpack://app/./fail.ts"] }))
    await assertMapped(write("bundle/fail.js", outputText), "webpack://app/fail.ts")
  })
  it("leads to no file but a program", async () => {
    const { outputText, sourceMapText } = compile({ sourceMap: true })
    const map = JSON.parse(sourceMapText!) as { sources: Array<string> }
    write("leads/secret", "root")
    for (
      const source of [
        "../../../../../etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "../secret",
        "//host/x.ts",
        "%",
        "%00.ts"
      ]
    ) {
      write("leads/dist/fail.js.map", JSON.stringify({ ...map, sources: [source] }))
      const [frame] = await framesOf(errorAt(`fail (${write("leads/dist/fail.js", outputText)}:2:11)`))
      if (frame?.file !== `${temporary}/leads/dist/fail.js`) assert.isUndefined(frame?.source, source)
    }
  })
  it("which nests without end, or has nothing but segments, is read or not", async () => {
    const { outputText } = compile({ sourceMap: true })
    const file = write("bomb/fail.js", outputText)
    for (
      const text of [
        "[".repeat(1e6),
        `${"{\"sections\":[{\"offset\":{\"line\":0,\"column\":0},\"map\":".repeat(1e4)}1${"}]}".repeat(1e4)}`,
        JSON.stringify({ version: 3, sources: ["a.ts"], mappings: "A".repeat(1e6) }),
        JSON.stringify({ version: 3, sources: ["a.ts"], mappings: "AAAA,".repeat(1e5) }),
        JSON.stringify({ version: 3, sources: ["a.ts"], mappings: "\u00e9g" })
      ]
    ) {
      write("bomb/fail.js.map", text)
      const [frame] = await framesOf(errorAt(`fail (${file}:2:11)`))
      assert.isDefined(frame)
    }
    Fs.truncateSync(write("bomb/fail.js.map", ""), 50 * 1024 * 1024)
    assert.strictEqual((await framesOf(errorAt(`fail (${file}:2:11)`)))[0]?.file, file)
  })
  it("a real error of it", async () => {
    const { outputText } = compile({ inlineSourceMap: true, inlineSources: true })
    // read where the runtime has mapped the frame itself
    write("real/fail.ts", typescript)
    const error = await thrown(write("real/fail.mjs", outputText))
    const [frame] = await framesOf(error)
    assert.deepStrictEqual([frame?.function, frame?.line, frame?.own], ["fail", 4, true])
    assert.strictEqual(frame?.source?.lines[3], "  throw new Error(name)")
  })
  it.each([
    ["no JSON", "data:application/json,%7B"],
    ["no record", "data:application/json,1"],
    ["not base64", "data:application/json;base64,*"],
    ["of another type", "data:text/plain,{}"],
    ["without a comma", "data:application/json"],
    ["wrong within", `data:application/json,${encodeURIComponent(`{"version":3,"sources":[1],"mappings":5}`)}`],
    ["missing", "missing.js.map"],
    ["of another kind", "/etc/passwd"],
    ["far away", "http://localhost:1/x.js.map"],
    ["not at the end", "x.map\ncode()"]
  ])("a map that is %s is none", async (_, url) => {
    const file = write("wrong/a.js", `a()\n//# sourceMappingURL=${url}\n`)
    const [frame] = await framesOf(errorAt(`${file}:1:2`))
    assert.deepStrictEqual([frame?.file, frame?.line, frame?.column], [file, 1, 2])
    assert.strictEqual(frame?.source?.lines[0], "a()")
  })
})

it("what is shown of a line throws", async () => {
  const file = write("show.ts", "x")
  const show = () => {
    throw new Error("boom")
  }
  assert.deepStrictEqual(await framesOf(errorAt(`${file}:1:1`), { show }), [])
})

it("where there are no files there are frames", async () => {
  const file = write("nowhere.ts", "x")
  vi.doMock("node:fs/promises", () => {
    throw new Error("no such module")
  })
  const [frame] = await framesOf(errorAt(`${file}:1:1`)).finally(() => vi.doUnmock("node:fs/promises"))
  assert.deepStrictEqual([frame?.line, frame?.source], [1, undefined])
  const [again] = await framesOf(errorAt(`${file}:1:1`))
  assert.deepStrictEqual(again?.source?.lines, ["x"])
})
