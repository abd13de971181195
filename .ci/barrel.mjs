// Writes src/index.ts: one namespace for each public module, under the first paragraph of the module's own doc.
// A driver is left out, so that importing the package asks for no optional peer.
import * as Fs from "node:fs"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { isDriver, modules, root } from "./layout.mjs"

/** What the doc comment that a file starts with says first, and since when the module is there. */
const moduleDoc = (file) => {
  const doc = /^\/\*\*([\s\S]*?)\*\//.exec(Fs.readFileSync(file, "utf8"))?.[1] ?? ""
  const lines = doc.split("\n").map((line) => line.replace(/^\s*\*? ?/, "").trimEnd()).slice(1)
  const end = lines.findIndex((line) => line === "" || line.startsWith("@"))
  const since = lines.find((line) => line.startsWith("@since "))
  if (end < 1 || since === undefined) throw new Error(`${file} must start with a doc comment: what it is for, @since`)
  return { summary: lines.slice(0, end), since }
}

export const barrel = (folder = Path.join(root, "src")) =>
  modules(folder).filter((module) => !isDriver(module)).map((module) => {
    const { since, summary } = moduleDoc(Path.join(folder, `${module}.ts`))
    const doc = [...summary, "", since].map((line) => ` * ${line}`.trimEnd())
    return ["/**", ...doc, " */", `export * as ${module} from "./${module}.js"`, ""].join("\n")
  }).join("\n")

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  Fs.writeFileSync(Path.join(root, "src", "index.ts"), barrel())
}
