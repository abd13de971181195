/** The machine's own curl, which has read the RFCs by itself. */
import { describe } from "@effect/vitest"
import { Effect } from "effect"
import { execFile, execFileSync } from "node:child_process"

const isMissing = (() => {
  try {
    execFileSync("curl", ["--version"], { stdio: "ignore" })
    return false
  } catch {
    return true
  }
})()

/** A suite that runs curl. Without it, it is skipped by a name that says what to install; in CI it fails. */
export const describeCurl = (name: string, tests: () => void) =>
  describe.skipIf(isMissing && process.env["CI"] !== "true")(
    isMissing ? `${name} (apt-get install -y curl)` : name,
    tests
  )

/** Gives the status, and what was received. */
export const curl = (...args: ReadonlyArray<string>) =>
  Effect.async<{ readonly status: number; readonly body: string }>((resume) => {
    const child = execFile(
      "curl",
      ["--silent", "--show-error", "--noproxy", "*", "--write-out", "\n%{http_code}", ...args],
      (error, stdout) => {
        const end = stdout.lastIndexOf("\n")
        resume(
          error === null
            ? Effect.succeed({ status: Number(stdout.slice(end + 1)), body: stdout.slice(0, end) })
            : Effect.die(error)
        )
      }
    )
    return Effect.sync(() => child.kill())
  })
