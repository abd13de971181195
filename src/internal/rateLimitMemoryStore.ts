/** What was spent, in the memory of one process. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Bucket, Decision, Service, Sync } from "../RateLimitStore.js"
import * as limits from "./limits.js"

export const make = (capacity: number): Service => {
  const tableOf = makeTables(capacity)
  const decide = (bucket: Bucket, cost: number, now: number, spends: boolean): Decision => {
    const compiled = limits.compile(bucket.limits)
    return tableOf(bucket.limiter, compiled).decide(compiled, bucket.key, now, cost, spends)
  }
  const consume: Sync["consume"] = (bucket, { cost, now }) => decide(bucket, cost, now, true)
  const refund: Sync["refund"] = (bucket, { cost, now, since }) => {
    const compiled = limits.compile(bucket.limits)
    tableOf(bucket.limiter, compiled).giveBack(compiled, bucket.key, now, cost, since)
  }
  const at = <A>(now: number | undefined, f: (now: number) => A): Effect.Effect<A> =>
    Effect.map(now === undefined ? Clock.currentTimeMillis : Effect.succeed(now), f)
  return {
    consume: (bucket, { cost, now }) => at(now, (now) => consume(bucket, { cost, now })),
    peek: (bucket, { cost, now }) => at(now, (now) => decide(bucket, cost, now, false)),
    refund: (bucket, { cost, now, since }) => at(now, (now) => refund(bucket, { cost, now, since })),
    reset: ({ key, limiter, limits: of }) => Effect.sync(() => tableOf(limiter, limits.compile(of)).remove(key)),
    sync: { consume, refund }
  }
}

/** As many rows lie together; what is more gets another block, so nothing is ever copied. */
const rowsOfBlock = 1 << 12

/** Of as many the one goes that has lapsed, or will first. */
const candidates = 8

/** The keys of one limiter, under limits of one shape. */
interface Table {
  readonly keys: () => Iterable<string>
  readonly lapseOf: (key: string, now: number) => number
  readonly decide: (compiled: limits.Compiled, key: string, now: number, cost: number, spends: boolean) => Decision
  readonly giveBack: (compiled: limits.Compiled, key: string, now: number, cost: number, since: number) => void
  readonly remove: (key: string) => void
}

const makeTables = (capacity: number) => {
  const tables = new Map<string, Map<string, Table>>()
  let size = 0

  function* turns(): Generator<readonly [Table, string] | undefined, never> {
    for (;;) {
      // the end of a turn, or there would be none where nothing is left
      yield undefined
      for (const shapes of tables.values()) {
        for (const table of shapes.values()) {
          for (const key of table.keys()) yield [table, key]
        }
      }
    }
  }
  const turn = turns()

  /** Before a key comes: takes out what has lapsed among the next few and, where there is no room, the one that will first. */
  const makeRoom = (now: number) => {
    let [soonest, victim]: [number, readonly [Table, string] | undefined] = [Infinity, undefined]
    for (let i = size >= capacity ? candidates : 2; i > 0; i--) {
      const next = turn.next().value ?? turn.next().value
      if (next === undefined) break
      const lapse = next[0].lapseOf(next[1], now)
      if (lapse === 0) next[0].remove(next[1])
      else if (lapse < soonest) [soonest, victim] = [lapse, next]
    }
    if (size >= capacity && victim !== undefined) victim[0].remove(victim[1])
  }

  const makeTable = (first: limits.Compiled): Table => {
    const rows = new Map<string, number>()
    const blocks: Array<limits.Slots> = []
    const free: Array<number> = []
    const { stride } = first
    const slotsOf = (row: number): limits.Slots => blocks[row / rowsOfBlock | 0]!
    const atOf = (row: number) => row % rowsOfBlock * stride
    /** To look at it, which takes out what has lapsed, without a change. */
    const copyOf = (row: number): limits.Slots => {
      const [{ cells, logs }, at] = [slotsOf(row), atOf(row)]
      const copy = { cells: cells.slice(at, at + stride), logs: new Map<number, Array<number>>() }
      for (let i = 0; i < stride; i += limits.width) {
        const log = logs.get(at + i)
        if (log !== undefined) copy.logs.set(i, [...log])
      }
      return copy
    }

    const insert = (key: string, now: number): number => {
      makeRoom(now)
      const row = free.pop() ?? rows.size
      if (row / rowsOfBlock >= blocks.length) blocks.push(makeSlots(rowsOfBlock * stride))
      rows.set(key, row)
      size++
      return row
    }
    return {
      keys: () => rows.keys(),
      lapseOf: (key: string, now: number) => {
        const row = rows.get(key)!
        return limits.lapseOf(first, slotsOf(row), atOf(row), now)
      },
      decide: (compiled: limits.Compiled, key: string, now: number, cost: number, spends: boolean): Decision => {
        const row = rows.get(key)
        if (spends) {
          const place = row ?? insert(key, now)
          return limits.decide(compiled, slotsOf(place), atOf(place), now, cost, true)
        }
        return limits.decide(compiled, row === undefined ? makeSlots(stride) : copyOf(row), 0, now, cost, false)
      },
      giveBack: (compiled: limits.Compiled, key: string, now: number, cost: number, since: number) => {
        const row = rows.get(key)
        if (row !== undefined) limits.giveBack(compiled, slotsOf(row), atOf(row), now, cost, since)
      },
      remove: (key: string) => {
        const row = rows.get(key)
        if (row === undefined) return
        const [slots, at] = [slotsOf(row), atOf(row)]
        slots.cells.fill(0, at, at + stride)
        for (let i = at; i < at + stride; i += limits.width) slots.logs.delete(i)
        rows.delete(key)
        free.push(row)
        size--
      }
    }
  }

  return (limiter: string, compiled: limits.Compiled): Table => {
    const shapes = tables.get(limiter) ?? new Map<string, Table>()
    if (shapes.size === 0) tables.set(limiter, shapes)
    const known = shapes.get(compiled.shape)
    if (known !== undefined) return known
    const table = makeTable(compiled)
    shapes.set(compiled.shape, table)
    return table
  }
}

const makeSlots = (length: number): limits.Slots => ({ cells: new Float64Array(length), logs: new Map() })
