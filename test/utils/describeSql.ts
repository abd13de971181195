import { describe } from "@effect/vitest"
import { missingPostgres, missingSqlite } from "./sql.js"

/** Suites with real databases. Without one they are skipped, by a name that says what to install; in CI they fail. */
const describeWith = (missing: string | undefined) => (name: string, tests: () => void) =>
  describe.skipIf(missing !== undefined && process.env["CI"] !== "true")(
    missing === undefined ? name : `${name} (${missing})`,
    // on a machine that is busy
    { timeout: 60_000 },
    tests
  )

export const describePostgres = describeWith(missingPostgres)
export const describeSqlite = describeWith(missingSqlite)
