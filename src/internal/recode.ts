/** A stream through one of zlib's engines. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Engine } from "./zlib.js"

/**
 * Codes or decodes a stream as it flows: as much is read of it as is taken here, and the engine is gone when the stream is.
 * One that fails ends as a failure, so that the engine never closes what is not whole.
 */
export const recode = <E, E2>(
  body: Stream.Stream<Uint8Array, E>,
  make: () => Engine,
  failed: (error: unknown) => E2
): Stream.Stream<Uint8Array, E | E2> =>
  Stream.unwrapScoped(Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new Running(make())),
      (running) => Effect.sync(() => running.close())
    ),
    (running) => {
      const next = Effect.async<Uint8Array, Option.Option<E2>>((resume) =>
        running.next(
          (bytes) => resume(bytes === undefined ? Effect.fail(Option.none()) : Effect.succeed(bytes)),
          (error) => resume(Effect.fail(Option.some(failed(error))))
        )
      )
      const output = Stream.repeatEffectOption(next)
      return Stream.concat(
        Stream.flatMap(Stream.chunks(body), (chunks) => {
          for (const bytes of chunks) running.write(bytes)
          return output
        }),
        Stream.suspend(() => {
          running.end()
          return output
        })
      )
    }
  ))

class Running {
  private given = 0
  /** How many writes the engine is not done with. */
  private pending = 0
  private ending = false
  private wake = () => {}
  private readonly woken = () => {
    const { wake } = this
    this.wake = () => {}
    wake()
  }
  private readonly written = () => {
    this.pending--
    this.woken()
  }

  constructor(private readonly engine: Engine) {
    for (const event of ["readable", "end", "error", "close"]) engine.on(event, this.woken)
  }
  write(bytes: Uint8Array) {
    this.pending++
    this.given += bytes.length
    this.engine.write(bytes, this.written)
  }
  end() {
    this.ending = true
    this.engine.end()
  }
  close() {
    this.engine.destroy()
  }

  /** What comes of what was written: nothing once that was all. */
  next(give: (bytes: Uint8Array | undefined) => void, fail: (error: unknown) => void) {
    const { engine } = this
    const step = () => {
      const bytes: Uint8Array | null = engine.read()
      if (bytes !== null) return give(bytes)
      // nothing is nothing in every coding
      if (engine.errored !== null) return this.given === 0 ? give(undefined) : fail(engine.errored)
      if (this.ending ? !engine.readableEnded : this.pending > 0) return void (this.wake = step)
      // an engine passes over what comes behind the end
      if (this.ending && engine.bytesWritten < this.given) return fail(new Error("There is more than what was coded"))
      give(undefined)
    }
    step()
  }
}
