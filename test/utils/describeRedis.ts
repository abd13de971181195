import { describe } from "@effect/vitest"
import { missingRedis } from "./redis.js"

/** A suite with real Redis. Without its binaries it is skipped, by a name that says what to install; in CI it fails. */
export const describeRedis = (name: string, tests: () => void) =>
  describe.skipIf(missingRedis !== undefined && process.env["CI"] !== "true")(
    missingRedis === undefined ? name : `${name} (${missingRedis})`,
    tests
  )
