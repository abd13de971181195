import * as effect from "@effect/eslint-plugin"
import js from "@eslint/js"
import { createNodeResolver, importX } from "eslint-plugin-import-x"
import { defineConfig } from "eslint/config"
import typescript from "typescript-eslint"
import { kernel, optionalPeers, shared, topLevelDrivers } from "./.ci/layout.mjs"

// The rules of the layout are selectors over syntax: one mechanism for static, dynamic and type imports alike.

const anyOf = (words) => words.map((word) => word.replace(/[./]/g, "\\$&")).join("|")
const packages = (names) => `/^(?:${anyOf(names)})(?:\\/|$)/`
const restrict = (...groups) => ({ "no-restricted-syntax": ["error", ...groups.flat()] })

const valueImports = [
  "ImportDeclaration[importKind='value']",
  "ExportNamedDeclaration[exportKind='value']",
  "ExportAllDeclaration[exportKind='value']",
  "ImportExpression",
  "TSExternalModuleReference",
  "CallExpression[callee.name='require']"
]
const typeImports = [
  "ImportDeclaration[importKind='type']",
  "ExportNamedDeclaration[exportKind='type']",
  "ExportAllDeclaration[exportKind='type']",
  "TSImportType",
  "TSImportType > TSLiteralType"
]
const from = (pattern, importing) => `:matches(${importing.join(", ")}) > Literal[value=${pattern}]`

const time = {
  selector:
    ":matches(MemberExpression[object.name='Date'], MemberExpression[object.property.name='Date'])[property.name='now']," +
    " NewExpression[callee.name='Date'][arguments.length=0], CallExpression[callee.name='Date']",
  message: "Take the time from Clock, or from the exchange."
}
const chance = {
  selector:
    ":matches(MemberExpression[object.name='Math'], MemberExpression[object.property.name='Math'])[property.name='random']",
  message: "Take randomness from the exchange, or inject it."
}
const self = {
  selector: from(packages(["effect-middleware"]), [...valueImports, ...typeImports]),
  message: "Inside the package, import the file."
}
const everywhere = [time, chance, self]

const peers = (names) => ({
  selector: from(packages(names), [...valueImports, ...typeImports]),
  message: "An optional peer is imported by its driver alone: src/<Module>/<Driver>.ts."
})

const pure = {
  selector: from("/^(?:effect(?:\\/|$)|@effect\\/)/", valueImports),
  message: "src/internal is plain code: import types from effect, or name the file *Store.ts."
}

const fiberModules = "FiberId|FiberRef|FiberRefs|FiberRefsPatch"
const fiberNames =
  "withFiberRuntime|getCurrentFiber|unsafeMap|currentPreResponseHandlers|appendPreResponseHandler|withPreResponseHandler"
const fibers = [
  from(`/^effect\\/(?:${fiberModules})$/`, [...valueImports, ...typeImports]),
  `ImportDeclaration[source.value='effect'] > ImportSpecifier[imported.name=/^(?:${fiberModules})$/]`,
  `Identifier[name=/^(?:${fiberNames})$/]`,
  `Literal[value=/^(?:${fiberNames})$/]`,
  "CallExpression[callee.object.name='Symbol'][callee.property.name='for'] > Literal[value=/^@effect\\//]"
].map((selector) => ({
  selector,
  message: `Only ${kernel.join(", ")} may know fiber internals, pre-response handlers and the platform's markers.`
}))

const testFunctions = "/^(?:it|test|describe|suite|bench)$/"
const unfinished = [
  ...["object", "object.object", "object.object.object"].map((path) =>
    `MemberExpression[${path}.name=${testFunctions}][property.name=/^(?:only|skip|todo)$/]`
  ),
  ...["callee", "callee.object", "callee.object.object"].map((path) =>
    `CallExpression[${path}.name=${testFunctions}] > ObjectExpression > Property[key.name=/^(?:only|skip|todo)$/]`
  )
].map((selector) => ({
  selector,
  message: "A test runs, or it is not there. Where a machine lacks something, use skipIf and say what to install."
}))

export default defineConfig(
  { ignores: ["dist", "coverage"] },
  js.configs.recommended,
  typescript.configs.recommended,
  effect.configs.dprint,
  {
    plugins: { "import-x": importX },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    settings: {
      "import-x/parsers": { "@typescript-eslint/parser": [".ts"] },
      "import-x/extensions": [".ts"],
      "import-x/resolver-next": [
        createNodeResolver({
          conditionNames: ["effect-middleware", "node", "import", "default"],
          extensionAlias: { ".js": [".ts", ".js"] },
          extensions: [".ts", ".js"]
        })
      ]
    },
    rules: {
      "@effect/dprint": ["error", {
        config: {
          indentWidth: 2,
          lineWidth: 120,
          semiColons: "asi",
          quoteStyle: "alwaysDouble",
          trailingCommas: "never",
          operatorPosition: "maintain",
          "arrowFunction.useParentheses": "force"
        }
      }],
      "import-x/first": "error",
      "import-x/no-cycle": "error",
      "import-x/no-self-import": "error",
      "no-control-regex": "off",
      "object-shorthand": "error",
      "require-yield": "off",
      "@typescript-eslint/array-type": ["error", { default: "generic", readonly: "generic" }],
      "@typescript-eslint/ban-ts-comment": ["error", { "ts-expect-error": false }],
      "@typescript-eslint/consistent-type-imports": ["error", { disallowTypeAnnotations: false }],
      "@typescript-eslint/no-empty-object-type": "off",
      "@typescript-eslint/no-explicit-any": "off",
      "@typescript-eslint/no-namespace": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }]
    }
  },
  {
    files: ["**/*.mjs"],
    languageOptions: { globals: { console: "readonly", process: "readonly", URL: "readonly" } }
  },
  {
    files: ["src/**/*.ts"],
    rules: {
      "no-console": "error",
      "@effect/no-import-from-barrel-package": ["error", { packageNames: ["effect", "@effect/platform"] }],
      "@typescript-eslint/no-explicit-any": "error",
      ...restrict(everywhere, peers(optionalPeers), fibers)
    }
  },
  {
    files: kernel.map((module) => `src/${module}.ts`),
    rules: restrict(everywhere, peers(optionalPeers))
  },
  {
    files: topLevelDrivers.map((module) => `src/${module}.ts`),
    rules: restrict(everywhere, peers(optionalPeers.filter((name) => name !== "@effect/platform-node")))
  },
  {
    files: ["src/*/*.ts"],
    ignores: ["src/internal/**"],
    rules: restrict(everywhere, fibers)
  },
  {
    files: ["src/internal/**/*.ts"],
    ignores: ["**/*Store.ts", ...[...kernel, ...shared].map((module) => `src/${module}.ts`)],
    rules: restrict(everywhere, peers(optionalPeers), fibers, pure)
  },
  {
    files: ["test/**/*.ts", "benchmarks/**/*.ts"],
    rules: restrict(unfinished)
  }
)
