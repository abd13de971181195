/** Processes that a script starts, and that end with it: files of this folder. */
import { Effect, Queue, type Scope } from "effect"
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"

export interface Child {
  /** What it says next; the caller knows what that is, since the child is of its own making. */
  readonly next: <A>() => Effect.Effect<A>
  readonly ask: <A>(question: object) => Effect.Effect<A>
}

export const startChild = (
  file: string,
  { args = [], node = [] }: { readonly args?: ReadonlyArray<string>; readonly node?: ReadonlyArray<string> } = {}
): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.gen(function*() {
    const said = yield* Queue.unbounded<Effect.Effect<unknown>>()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        fork(fileURLToPath(new URL(file, import.meta.url)), args, { execArgv: [...process.execArgv, ...node] })
          .on("message", (message) => said.unsafeOffer(Effect.succeed(message)))
          .on("exit", () => said.unsafeOffer(Effect.dieMessage(`${file} has ended`)))
      ),
      (child) => Effect.sync(() => child.removeAllListeners("exit").kill("SIGKILL"))
    )
    const next = <A>() => Effect.flatten(Queue.take(said)) as Effect.Effect<A>
    return { next, ask: <A>(question: object) => Effect.zipRight(Effect.sync(() => child.send(question)), next<A>()) }
  })
