import { afterAll, assert, describe, it } from "@effect/vitest"
import { ESLint } from "eslint"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { kernel, optionalPeers } from "../.ci/layout.mjs"

const root = Path.resolve(import.meta.dirname, "..")
const eslint = new ESLint({ cwd: root })

const lint = async (filePath: string, text: string, using = eslint) => {
  const results = await using.lintText(text, { filePath: Path.resolve(root, filePath) })
  return results.flatMap(({ messages }) => messages.map(({ message, ruleId }) => `${ruleId}: ${message}`))
}

const optionalPeer = /^no-restricted-syntax: An optional peer is imported by its driver alone/
const plainCode = /^no-restricted-syntax: src\/internal is plain code/
const fibers =
  /^no-restricted-syntax: Only internal\/failures, internal\/kernel, internal\/nodeHandler, internal\/routes, NodeServer may know fiber internals/
const time = /^no-restricted-syntax: Take the time from Clock/
const chance = /^no-restricted-syntax: Take randomness from the exchange/
const self = /^no-restricted-syntax: Inside the package, import the file/
const unfinished = /^no-restricted-syntax: A test runs, or it is not there/

const importsOf = (name: string) => [
  `import * as Peer from "${name}"\nexport const peer = Peer\n`,
  `import type * as Peer from "${name}"\nexport type P = typeof Peer\n`,
  `import "${name}/sub"\n`,
  `export * from "${name}"\n`,
  `export { x } from "${name}"\n`,
  `export type { X } from "${name}"\n`,
  `export const peer = import("${name}")\n`,
  `export type Peer = typeof import("${name}")\n`
]

const focus = (call: string) => `import { describe, it } from "@effect/vitest"\n\n${call}("x", () => describe)\n`

type Case = readonly [rule: RegExp, filePath: string, text: string]

const refused: ReadonlyArray<Case> = [
  ...optionalPeers.flatMap((name) =>
    importsOf(name).flatMap((text): Array<Case> => [
      [optionalPeer, "src/Session.ts", text],
      [optionalPeer, "src/internal/session/redisStore.ts", text]
    ])
  ),
  [optionalPeer, "src/Session.ts", "export const peer = require(\"redis\")\n"],
  [optionalPeer, "src/index.ts", "export * as Peer from \"ioredis\"\n"],
  [optionalPeer, "src/Stack.ts", "import \"@effect/platform-node/NodeHttpServer\"\n"],
  [optionalPeer, "src/NodeServer.ts", "import \"ioredis\"\n"],
  [optionalPeer, "src/Session/Redis/Driver.ts", "import \"ioredis\"\n"],

  ...["effect", "effect/Effect", "effect/Function", "@effect/platform", "@effect/platform/Headers"].flatMap((name) =>
    [
      `import * as X from "${name}"\nexport const x = X\n`,
      `import { type Effect } from "${name}"\nexport type E = Effect\n`,
      `export * from "${name}"\n`,
      `export const x = import("${name}")\n`
    ].flatMap((text): Array<Case> => [
      [plainCode, "src/internal/vary.ts", text],
      [plainCode, "src/internal/rateLimit/steps.ts", text]
    ])
  ),

  ...[
    "import * as FiberRef from \"effect/FiberRef\"\nexport const x = FiberRef.get\n",
    "import type * as FiberRefs from \"effect/FiberRefs\"\nexport type X = FiberRefs.FiberRefs\n",
    "import * as FiberId from \"effect/FiberId\"\nexport const x = FiberId.none\n",
    "import { FiberRef } from \"effect\"\nexport const x = FiberRef.get\n",
    "import * as Effect from \"effect/Effect\"\nexport const x = Effect.withFiberRuntime\n",
    "import * as Fiber from \"effect/Fiber\"\nexport const x = Fiber.getCurrentFiber\n",
    "export const x = (context: { unsafeMap: unknown }) => context[\"unsafeMap\"]\n",
    "export const x = (context: { unsafeMap: unknown }) => context.unsafeMap\n",
    "import { currentPreResponseHandlers } from \"@effect/platform/HttpApp\"\nexport const x = currentPreResponseHandlers\n",
    "import * as HttpApp from \"@effect/platform/HttpApp\"\nexport const x = HttpApp.appendPreResponseHandler\n",
    "import * as HttpApp from \"@effect/platform/HttpApp\"\nexport const x = HttpApp.withPreResponseHandler\n",
    "export const x = Symbol.for(\"@effect/platform/HttpApp/handled\")\n"
  ].flatMap((text): Array<Case> => [
    [fibers, "src/Cors.ts", text],
    [fibers, "src/Redis/Ioredis.ts", text],
    [fibers, "src/internal/sessionStore.ts", text]
  ]),

  ...["src/Cors.ts", "src/Stack.ts", "src/NodeServer.ts", "src/Redis/Ioredis.ts", "src/internal/vary.ts"].flatMap((
    filePath
  ): Array<Case> => [
    [time, filePath, "export const x = Date.now()\n"],
    [time, filePath, "export const x = [1].map(Date.now)\n"],
    [time, filePath, "export const x = globalThis.Date.now()\n"],
    [time, filePath, "export const x = new Date()\n"],
    [time, filePath, "export const x = Date()\n"],
    [chance, filePath, "export const x = Math.random()\n"],
    [chance, filePath, "export const x = globalThis.Math.random\n"],
    [self, filePath, "import \"effect-middleware\"\n"],
    [/^@typescript-eslint\/no-explicit-any/, filePath, "export const x: any = 1\n"],
    [/^no-console/, filePath, "console.log(1)\n"]
  ]),
  [/^@effect\/no-import-from-barrel-package/, "src/Cors.ts", "import { Effect } from \"effect\"\nexport { Effect }\n"],

  ...["it", "describe", "it.effect", "it.scoped", "describe.concurrent"].flatMap((test) =>
    ["only", "skip", "todo"].flatMap((how): Array<Case> => [
      [unfinished, "test/Cors.test.ts", focus(`${test}.${how}`)],
      [unfinished, "test/contracts/SessionStoreContract.ts", `${test}("x", { ${how}: true }, () => {})\n`]
    ])
  ),

  [/^@effect\/dprint/, "src/Cors.ts", "export const x = 'single';\n"],
  [/^@effect\/dprint/, "test/Cors.test.ts", "export const x = { a: 1, }\n"],
  [/^@typescript-eslint\/no-unused-vars/, "src/Cors.ts", "const x = 1\n"],
  [/^null: Unused eslint-disable directive/, "src/Cors.ts", "// eslint-disable-next-line no-console\nexport {}\n"]
]

const allowed: ReadonlyArray<readonly [filePath: string, text: string]> = [
  ...importsOf("ioredis").map((text) => ["src/Redis/Ioredis.ts", text] as const),
  ["src/NodeServer.ts", "import \"@effect/platform-node/NodeHttpServer\"\n"],
  ["src/Cors.ts", "import \"effect-middleware-contrib\"\nimport \"ioredis-mock\"\n"],
  ["src/internal/vary.ts", "import type * as Effect from \"effect/Effect\"\nexport type E = Effect.Effect<1>\n"],
  ["src/internal/address.ts", "import ipaddr from \"ipaddr.js\"\n\nexport const parse = ipaddr.parse\n"],
  ["src/internal/redisStore.ts", "import * as Effect from \"effect/Effect\"\n\nexport const x = Effect.void\n"],
  ...kernel.map((module) =>
    [
      `src/${module}.ts`,
      "import * as FiberRef from \"effect/FiberRef\"\n\nexport const x = FiberRef.currentContext.unsafeMap\n"
    ] as const
  ),
  ["src/Cors.ts", "export const x = (millis: number) => new Date(millis)\n"],
  ["src/Cors.ts", "export const x = Symbol.for(\"effect-middleware/Cors\")\n"],
  ["test/Cors.test.ts", "import { it } from \"@effect/vitest\"\n\nit.skipIf(Date.now() < 0)(\"x\", () => {})\n"]
]

describe("lint", () => {
  const title = (filePath: string, text: string) => `${filePath}: ${text.trimEnd().replaceAll("\n", " ")}`

  for (const [rule, filePath, text] of refused) {
    it(`refuses ${title(filePath, text)}`, async () => {
      const messages = await lint(filePath, text)
      assert.isTrue(messages.some((message) => rule.test(message)), `not refused by ${rule}: ${messages.join(", ")}`)
    })
  }

  for (const [filePath, text] of allowed) {
    it(`allows ${title(filePath, text)}`, async () => assert.deepEqual(await lint(filePath, text), []))
  }

  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-lint-"))
  afterAll(() => Fs.rmSync(folder, { recursive: true }))

  it("refuses an import cycle, through another file and through the barrel", async () => {
    const files = {
      "src/A.ts": "import { b } from \"./B.js\"\n\nexport const a = () => b\n",
      "src/B.ts": "import { c } from \"./C.js\"\n\nexport const b = () => c\n",
      "src/C.ts": "import * as A from \"./A.js\"\n\nexport const c = () => A\n",
      "src/D.ts": "import { A } from \"./index.js\"\n\nexport const d = () => A\n",
      "src/E.ts": "import type * as F from \"./F.js\"\n\nexport type E = F.F\n",
      "src/F.ts": "import type * as E from \"./E.js\"\n\nexport type F = E.E\n",
      "src/index.ts": "export * as A from \"./A.js\"\nexport * as D from \"./D.js\"\n"
    }
    Fs.mkdirSync(Path.join(folder, "src"))
    for (const [file, text] of Object.entries(files)) Fs.writeFileSync(Path.join(folder, file), text)
    const there = new ESLint({ cwd: folder, overrideConfigFile: Path.join(root, "eslint.config.mjs") })
    const results = await there.lintFiles(["src"])
    const cyclic = results.filter(({ messages }) => messages.some(({ ruleId }) => ruleId === "import-x/no-cycle"))
    assert.deepEqual(
      cyclic.map(({ filePath }) => Path.basename(filePath)).sort(),
      ["A.ts", "B.ts", "C.ts", "D.ts", "index.ts"]
    )
  })
})
