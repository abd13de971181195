import { afterAll, assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import { holds, laws, traitsOf } from "./laws.js"
import { subjects } from "./subjects.js"
import { type Mount, serverOf } from "./TestApp.js"

/** A regular expression for the names of those subjects that the laws are tried on. Without one: on all. */
const chosen = new RegExp(process.env.LAWS_OF ?? "")

/** Tries every law on every subject in some of the mounts. With LAWS_TABLE=1 it prints what has been kept where. */
export const describeLaws = (mounts: ReadonlyArray<Mount>) => {
  /** How many laws each middleware keeps in each mount, of those that apply to it there. */
  const kept = new Map<string, Map<string, readonly [kept: number, of: number]>>()
  const count = (subject: string, mount: string, holds: boolean) => {
    const row = kept.get(subject) ?? new Map<string, readonly [number, number]>()
    const [laws, of] = row.get(mount) ?? [0, 0]
    kept.set(subject, row.set(mount, [laws + (holds ? 1 : 0), of + 1]))
  }

  for (const mount of mounts) {
    describe(`in ${mount.name}`, () => {
      for (const law of laws) {
        const bound = subjects.filter((subject) =>
          chosen.test(subject.name) && law.applies({ ...mount, ...traitsOf(subject) })
        )
        if (bound.length === 0) continue
        it.scoped(law.name, () =>
          Effect.gen(function*() {
            const broken: Array<string> = []
            for (const subject of bound) {
              const exit = yield* holds(law, mount, subject)
              count(subject.name, mount.name, Exit.isSuccess(exit))
              if (Exit.isFailure(exit)) broken.push(`${subject.name}: ${Cause.pretty(exit.cause)}`)
            }
            assert.deepStrictEqual(broken, [])
          }).pipe(Effect.provide(serverOf(mount))), 60_000)
      }
    })
  }

  afterAll(() => {
    if (process.env.LAWS_TABLE !== "1") return
    const columns = mounts.map(({ name }) => name)
    const lines = [...kept].map(([subject, row]) =>
      [subject, ...columns.map((mount) => row.get(mount)?.join("/") ?? "")].join(" | ")
    )
    console.log(
      [["laws kept / that apply", ...columns].join(" | "), columns.map(() => "---").join(" | ") + " | ---", ...lines]
        .map((line) => `| ${line} |`).join("\n")
    )
  })
}
