// Packs the package and looks at it as a user would: publint, attw, then fresh projects that hold nothing but
// the tarball and the required peers, once at the versions of the lock file and once at the lowest that are allowed.
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { isDriver, modules, optionalPeers, root } from "./layout.mjs"

const manifest = JSON.parse(Fs.readFileSync(Path.join(root, "package.json"), "utf8"))
const lock = JSON.parse(Fs.readFileSync(Path.join(root, "package-lock.json"), "utf8"))
const required = Object.keys(manifest.peerDependencies).filter((name) =>
  manifest.peerDependenciesMeta[name]?.optional !== true
)
const temporary = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-"))
process.on("exit", () => Fs.rmSync(temporary, { recursive: true, force: true }))

const run = (command, args, cwd = root) => {
  const { status } = spawnSync(command, args, { cwd, stdio: "inherit" })
  if (status !== 0) process.exit(1)
}
const tool = (name) => Path.join(root, "node_modules", ".bin", name)
const step = (what) => console.log(`\n--- ${what}`)

step("npm pack")
run("npm", ["pack", "--pack-destination", temporary])
const tarball = Path.join(temporary, Fs.readdirSync(temporary).find((file) => file.endsWith(".tgz")))
const dist = Fs.readdirSync(Path.join(root, "dist"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".js"))
  .map((file) => file.split(Path.sep).join("/").slice(0, -".js".length))
const published = dist.filter((module) => !module.startsWith("internal/") && module !== "index").sort()
const internal = dist.find((module) => module.startsWith("internal/"))
assert.deepEqual(published, modules(), "dist holds the modules of src")

step("publint")
run(tool("publint"), ["run", tarball, "--strict"])

step("attw")
run(tool("attw"), [
  tarball,
  "--profile",
  "esm-only",
  "--entrypoints",
  ".",
  ...published.map((module) => `./${module}`)
])

const core = published.filter((module) => !isDriver(module))
const subpaths = ["effect-middleware", ...core.map((module) => `effect-middleware/${module}`)]

const load = `
import assert from "node:assert/strict"
const refused = (path, code) => assert.rejects(import(path), { code }, path)
for (const path of ${JSON.stringify(subpaths)}) assert.notEqual(Object.keys(await import(path)).length, 0, path)
assert.deepEqual(Object.keys(await import("effect-middleware")).sort(), ${JSON.stringify(core)})
await refused("effect-middleware/${internal}", "ERR_PACKAGE_PATH_NOT_EXPORTED")
await refused("effect-middleware/NoSuchModule", "ERR_MODULE_NOT_FOUND")
`
const types = [
  ...subpaths.map((path, index) => `import * as M${index} from "${path}"`),
  `export const all = [${subpaths.map((_, index) => `M${index}`).join(", ")}]`,
  "// @ts-expect-error nothing under internal can be named",
  `export type Internal = typeof import("effect-middleware/${internal}")`
].join("\n")
const compilerOptions = {
  target: "ES2022",
  lib: ["ES2022", "DOM", "DOM.Iterable"],
  module: "NodeNext",
  strict: true,
  exactOptionalPropertyTypes: true,
  types: [],
  noEmit: true
}

const locked = (name) => lock.packages[`node_modules/${name}`].version
const lowest = (name) => /^\^(\d+\.\d+\.\d+)$/.exec(manifest.peerDependencies[name])[1]

for (const [which, versionOf] of [["locked", locked], ["lowest", lowest]]) {
  const versions = required.map((name) => `${name}@${versionOf(name)}`)
  step(`a fresh project with ${versions.join(", ")} (${which})`)
  const project = Path.join(temporary, which)
  Fs.mkdirSync(project)
  Fs.writeFileSync(Path.join(project, "package.json"), `{ "private": true, "type": "module" }`)
  Fs.writeFileSync(Path.join(project, "load.js"), load)
  Fs.writeFileSync(Path.join(project, "types.ts"), types)
  Fs.writeFileSync(Path.join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["types.ts"] }))
  run("npm", ["install", "--no-audit", "--no-fund", "--save-exact", tarball, ...versions], project)
  for (const name of optionalPeers) {
    assert.ok(!Fs.existsSync(Path.join(project, "node_modules", name)), `${name} is installed, so nothing is shown`)
  }
  run(process.execPath, ["load.js"], project)
  run(tool("tsc"), ["-p", "tsconfig.json"], project)
  console.log(`${subpaths.length} entry points load and compile without an optional peer`)
}
