import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import ts from "typescript"

const root = Path.resolve(import.meta.dirname, "..")

/**
 * The package and its benchmarks as JavaScript, in a folder of their own: what is
 * timed is what a user installs, and stays the same while the source is edited.
 * `tsx` would not do: it wraps each named function in a call that keeps its name,
 * also those that are made anew for every request.
 */
export const snapshot = (): string => {
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-bench-"))
  compile(Path.join(root, "src"), Path.join(folder, "dist"))
  compile(Path.join(root, "benchmarks"), Path.join(folder, "benchmarks"))
  Fs.copyFileSync(Path.join(root, "package.json"), Path.join(folder, "package.json"))
  Fs.symlinkSync(Path.join(root, "node_modules"), Path.join(folder, "node_modules"), "junction")
  return folder
}

const compilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true
}

const compile = (from: string, to: string) => {
  for (const file of Fs.readdirSync(from, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts") || file.endsWith(".d.ts")) continue
    const out = Path.join(to, `${file.slice(0, -".ts".length)}.js`)
    Fs.mkdirSync(Path.dirname(out), { recursive: true })
    Fs.writeFileSync(
      out,
      ts.transpileModule(Fs.readFileSync(Path.join(from, file), "utf8"), { compilerOptions }).outputText
    )
  }
}
