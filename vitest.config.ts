import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

// "effect-middleware" resolves to src, not dist. Naming a condition replaces the defaults, so those that Node knows are named
// too; "module", for bundlers, is not: what it names may be nothing that Node can load.
const conditions = ["effect-middleware", "node", "development|production"]

/** Begins with what takes longest, or at the end one worker is left alone with it. */
class LongestFirst extends BaseSequencer {
  readonly #long = ["/laws.", "/Session/Sql.", ".browser.", "edis", "/Session.engines."]

  override async sort(files: Array<TestSpecification>) {
    const place = ({ moduleId }: TestSpecification) => {
      const at = this.#long.findIndex((part) => moduleId.includes(part))
      return at === -1 ? this.#long.length : at
    }
    return (await super.sort(files)).sort((a, b) => place(a) - place(b))
  }
}

const alone = ["budget", "opentelemetry", "prometheus", "Redis.ioredis6"].map((name) => `test/${name}.test.ts`)

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    benchmark: { include: ["benchmarks/**/*.bench.ts"] },
    pool: "forks",
    setupFiles: ["test/utils/setup.ts"],
    // real engines and browsers on a machine that is busy: what fails once is run again, and the report says so
    retry: process.env["CI"] === "true" ? 1 : 0,
    // Vitest leaves a core to itself, which on two is half of the time
    poolOptions: {
      forks: {
        maxForks: Math.max(2, availableParallelism() - 1),
        // what a test makes lives for a request or two, and is not to be copied again and again
        execArgv: ["--max-semi-space-size=64"]
      }
    },
    sequence: { sequencer: LongestFirst },
    // a machine that is busy is slow, and no test measures time
    testTimeout: 30_000,
    hookTimeout: 60_000,
    allowOnly: false,
    // to import Effect anew for each file is a third of the time, so files share a process, but for those that change or count
    // what is global to it
    projects: [
      {
        extends: true,
        test: { name: "shared", isolate: false, include: ["test/**/*.test.ts", ...alone.map((file) => `!${file}`)] }
      },
      { extends: true, test: { name: "alone", include: alone } }
    ]
  }
})
