/** What the adapters of Redis have alike: how they reconnect, and what they say of it. */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import { Entropy } from "../Entropy.js"

export interface Tools {
  /** Milliseconds to wait before the attempt, counted from 1: twice as long each time, up to two seconds, half of it random. */
  readonly delay: (attempt: number) => number
  /** Logs what went wrong with a connection: a warning in ten seconds, and no more. */
  readonly report: (error: unknown) => void
}

export const makeTools: Effect.Effect<Tools> = Effect.gen(function*() {
  const { bytes } = yield* Entropy
  const clock = yield* Clock.clockWith(Effect.succeed)
  const run = Runtime.runFork(yield* Effect.runtime<never>())
  let quietUntil = -Infinity
  return {
    delay: (attempt) => Math.min(2000, 25 * 2 ** attempt) * (0.5 + (bytes(1)[0] ?? 0) / 512),
    report: (error) => {
      const now = clock.unsafeCurrentTimeMillis()
      if (now < quietUntil) return
      quietUntil = now + 10_000
      // the message alone: a client's error may hold a command with its arguments, a password among them
      run(Effect.logWarning(`Redis: ${error instanceof Error ? error.message || error.name : String(error)}`))
    }
  }
})

/** A command that is not answered for this long takes its connection with it: the other side may be gone without a word. */
export const silence = 5000

/** How long a layer waits for its first connection: a server starts without its Redis too. */
export const firstConnection = "1 second"

export const urlConfig = (config: Config.Config<Redacted.Redacted>): Config.Config<string> =>
  config.pipe(
    Config.map(Redacted.value),
    Config.validate({
      message: "Expected a URL such as redis://user:password@host:6379/0, or rediss:// for TLS",
      validation: (url) => /^rediss?:\/\//.test(url) && URL.canParse(url)
    })
  )
