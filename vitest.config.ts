import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"

// "effect-middleware" resolves to src, not dist. Naming a condition replaces the defaults, so those that Node knows are named
// too; "module", for bundlers, is not: what it names may be nothing that Node can load.
const conditions = ["effect-middleware", "node", "development|production"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    benchmark: { include: ["benchmarks/**/*.bench.ts"] },
    pool: "forks",
    // Vitest leaves a core to itself, which on two is half of the time
    poolOptions: { forks: { execArgv: ["--max-semi-space-size=64"], maxForks: Math.max(2, availableParallelism() - 1) } },
    // a machine that is busy is slow, and no test measures time
    testTimeout: 30_000,
    hookTimeout: 60_000,
    allowOnly: false
  }
})
