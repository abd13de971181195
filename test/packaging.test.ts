import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import { builtinModules, createRequire } from "node:module"
import * as Os from "node:os"
import * as Path from "node:path"
import ts from "typescript"
import { barrel } from "../.ci/barrel.mjs"
import { isDriver, modules, optionalPeers, root, topLevelDrivers } from "../.ci/layout.mjs"

interface Manifest {
  readonly exports: Record<string, unknown>
  readonly dependencies: Record<string, string>
  readonly peerDependencies: Record<string, string>
  readonly peerDependenciesMeta: Record<string, { readonly optional?: boolean }>
}

interface Lock {
  readonly packages: Record<string, {
    readonly dependencies?: Record<string, string>
    readonly optionalDependencies?: Record<string, string>
    readonly resolved?: string
  }>
}

const read = (file: string) => Fs.readFileSync(Path.join(root, file), "utf8")
const manifest: Manifest = JSON.parse(read("package.json"))
const lock: Lock = JSON.parse(read("package-lock.json"))
const optional = Object.keys(manifest.peerDependencies).filter((name) => manifest.peerDependenciesMeta[name]?.optional)

const packageOf = (specifier: string) => specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/")

/** Every module that a text names, in a static, dynamic or type import. */
const specifiersOf = (text: string) => {
  const specifiers: Array<string> = []
  const visit = (node: ts.Node): void => {
    if (
      ts.isStringLiteral(node) &&
      (ts.isImportDeclaration(node.parent) || ts.isExportDeclaration(node.parent) ||
        (ts.isCallExpression(node.parent) && node.parent.expression.kind === ts.SyntaxKind.ImportKeyword) ||
        (ts.isLiteralTypeNode(node.parent) && ts.isImportTypeNode(node.parent.parent)))
    ) specifiers.push(node.text)
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile("module.ts", text, ts.ScriptTarget.ES2022, true))
  return specifiers
}

/** What a file imports when it runs: type imports leave no trace. */
const importsOf = (file: string): ReadonlyArray<string> => {
  const known = imported.get(file)
  if (known !== undefined) return known
  const { outputText } = ts.transpileModule(read(file), {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true }
  })
  const specifiers = specifiersOf(outputText)
  imported.set(file, specifiers)
  return specifiers
}
const imported = new Map<string, ReadonlyArray<string>>()

const isRelative = (specifier: string) => specifier.startsWith(".")

/** The packages that are loaded with a file, through any of the files it imports. */
const packagesOf = (file: string, seen = new Set<string>()): Set<string> => {
  if (seen.has(file)) return new Set()
  seen.add(file)
  return new Set(
    importsOf(file).flatMap((specifier) =>
      isRelative(specifier)
        ? [...packagesOf(Path.posix.join(Path.posix.dirname(file), specifier).replace(/\.js$/, ".ts"), seen)]
        : [packageOf(specifier)]
    )
  )
}

const all = modules().map((module) => `src/${module}.ts`)
const core = modules().filter((module) => !isDriver(module)).map((module) => `src/${module}.ts`)

describe("exports", () => {
  it("are two patterns and a wall", () => {
    assert.deepEqual(manifest.exports, {
      "./package.json": "./package.json",
      "./internal/*": null,
      ".": { "effect-middleware": "./src/index.ts", types: "./dist/index.d.ts", default: "./dist/index.js" },
      "./*": { "effect-middleware": "./src/*.ts", types: "./dist/*.d.ts", default: "./dist/*.js" }
    })
    assert.deepEqual(Object.keys(manifest.exports["."] as object), ["effect-middleware", "types", "default"])
  })

  it("give the tests the source", async () => {
    const { ResponseDraft } = await import("effect-middleware")
    assert.strictEqual(ResponseDraft, await import("../src/ResponseDraft.js"))
  })

  it("hide what is internal", () => {
    const { resolve } = createRequire(import.meta.url)
    assert.throws(() => resolve("effect-middleware/internal/fields"), /not defined by "exports"/)
  })
})

describe("the barrel", () => {
  it("is what `npm run barrel` writes", () => assert.strictEqual(read("src/index.ts"), barrel()))

  it("holds a core module under its first paragraph, and no driver", () => {
    const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-barrel-"))
    try {
      const write = (file: string, text: string) => {
        Fs.mkdirSync(Path.dirname(Path.join(folder, file)), { recursive: true })
        Fs.writeFileSync(Path.join(folder, file), text)
      }
      write("B.ts", "/**\n * Says `b`,\n * twice.\n *\n * And more.\n *\n * @since 0.2.0\n */\nexport const b = 1\n")
      write("A.ts", "/**\n * Says a.\n * @since 0.1.0\n */\nexport const a = 1\n")
      for (const driver of [...topLevelDrivers, "A/Driver", "internal/a", "index"]) write(`${driver}.ts`, "export {}\n")
      assert.strictEqual(
        barrel(folder),
        "/**\n * Says a.\n *\n * @since 0.1.0\n */\nexport * as A from \"./A.js\"\n\n" +
          "/**\n * Says `b`,\n * twice.\n *\n * @since 0.2.0\n */\nexport * as B from \"./B.js\"\n"
      )
      write("C.ts", "export const c = 1\n")
      assert.throws(() => barrel(folder), /C\.ts must start with a doc comment/)
    } finally {
      Fs.rmSync(folder, { recursive: true })
    }
  })
})

describe("dependencies", () => {
  it("of the package are declared", () => {
    const internal = Fs.readdirSync(Path.join(root, "src", "internal"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts")).map((file) => `src/internal/${file}`)
    const declared = [
      ...Object.keys(manifest.dependencies),
      ...Object.keys(manifest.peerDependencies),
      ...builtinModules.map((name) => `node:${name}`)
    ]
    const undeclared = [...all, ...internal].flatMap((file) =>
      specifiersOf(read(file))
        .filter((specifier) => !isRelative(specifier) && !declared.includes(packageOf(specifier)))
        .map((specifier) => `${file}: ${specifier}`)
    )
    assert.deepEqual(undeclared, [])
  })

  it("of a core module are never optional", () => {
    assert.deepEqual(optional.filter((name) => !optionalPeers.includes(name)), [], "optionalPeers lacks a name")
    for (const file of ["src/index.ts", ...core]) {
      const packages = packagesOf(file)
      assert.deepEqual(optionalPeers.filter((name) => packages.has(name)), [], file)
    }
  })

  it("are followed through files, and seen in every kind of import", () => {
    assert.includeMembers([...packagesOf("src/index.ts")], ["effect", "@effect/platform"])
    assert.deepEqual(
      specifiersOf(
        "import 'a'; export * as b from 'b'; import type { c } from 'c'; import('d'); type E = import('e').E"
      ),
      ["a", "b", "c", "d", "e"]
    )
  })
})

describe("the lock file", () => {
  it("names no download address", () => {
    assert.deepEqual(Object.entries(lock.packages).filter(([, { resolved }]) => resolved !== undefined), [])
  })

  it("holds what every platform needs, or `npm ci` refuses it", () => {
    const missing = Object.entries(lock.packages).flatMap(([path, { dependencies, optionalDependencies }]) =>
      Object.keys({ ...dependencies, ...optionalDependencies }).filter((name) => {
        for (let folder = path;; folder = folder.slice(0, Math.max(0, folder.lastIndexOf("/node_modules/")))) {
          const prefix = folder === "" ? "" : `${folder}/`
          if (lock.packages[`${prefix}node_modules/${name}`] !== undefined) return false
          if (folder === "") return true
        }
      }).map((name) => `${name}, which ${path} needs`)
    )
    assert.deepEqual(missing, [])
  })
})
