import { defineConfig } from "vitest/config"

// "effect-middleware" resolves to src, not dist. Naming a condition replaces the defaults, so they are named too.
const conditions = ["effect-middleware", "module", "node", "development|production"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    benchmark: { include: ["benchmarks/**/*.bench.ts"] },
    pool: "forks",
    allowOnly: false
  }
})
