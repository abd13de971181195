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

/** Of as many, from all over, the one goes that has lapsed, or will first. */
const candidates = 8

/** Between two of them, as a part of all: by the golden ratio, however many there are, they lie apart. */
const apart = (Math.sqrt(5) - 1) / 2

/** The keys of one limiter, under limits of one shape, each in a row. */
interface Table {
  /** How many rows there are, with those that are free. */
  readonly length: () => number
  /** How long until a row is free: 0 if it is by now. */
  readonly lapse: (row: number, now: number) => number
  readonly free: (row: number) => void
  readonly decide: (compiled: limits.Compiled, key: string, now: number, cost: number, spends: boolean) => Decision
  readonly giveBack: (compiled: limits.Compiled, key: string, now: number, cost: number, since: number) => void
  readonly remove: (key: string) => void
}

const makeTables = (capacity: number) => {
  const tables = new Map<string, Map<string, Table>>()
  const all: Array<Table> = []
  let size = 0

  let [hand, drawn] = [0, 0]
  /** The next in turn, or one from anywhere. */
  const next = (fromAnywhere: boolean): readonly [Table, number] | undefined => {
    const length = all.reduce((sum, table) => sum + table.length(), 0)
    if (fromAnywhere) drawn = (drawn + apart) % 1
    else hand = hand + 1 < length ? hand + 1 : 0
    let row = fromAnywhere ? Math.floor(drawn * length) : hand
    for (const table of all) {
      if (row < table.length()) return [table, row]
      row -= table.length()
    }
    return undefined
  }

  /**
   * Before a key comes: takes out what has lapsed among the next few. Where there is no room, the one goes of some that will
   * first; not of neighbours, or of many that came together and are to stay each would be compared with its like.
   */
  const makeRoom = (now: number) => {
    const full = size >= capacity
    let [soonest, victim]: [number, readonly [Table, number] | undefined] = [Infinity, undefined]
    for (let i = full ? candidates : 2; i > 0 || size >= capacity && victim === undefined; i--) {
      const found = next(full)
      if (found === undefined) break
      const lapse = found[0].lapse(found[1], now)
      if (lapse === 0) found[0].free(found[1])
      else if (lapse < soonest) [soonest, victim] = [lapse, found]
    }
    if (size >= capacity && victim !== undefined) victim[0].free(victim[1])
  }

  const makeTable = (stride: number): Table => {
    const rows = new Map<string, number>()
    const blocks: Array<limits.Slots> = []
    const unused: Array<number> = []
    const keys: Array<string | undefined> = []
    /** Of each row, the limits it was last asked under: others of the shape may say that it lapses sooner. */
    const plans: Array<limits.Compiled> = []
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
      const row = unused.pop() ?? keys.length
      if (row / rowsOfBlock >= blocks.length) blocks.push(makeSlots(rowsOfBlock * stride))
      rows.set(key, row)
      keys[row] = key
      size++
      return row
    }
    const free = (row: number): void => {
      const key = keys[row]
      if (key === undefined) return
      const [slots, at] = [slotsOf(row), atOf(row)]
      slots.cells.fill(0, at, at + stride)
      for (let i = at; i < at + stride; i += limits.width) slots.logs.delete(i)
      rows.delete(key)
      keys[row] = undefined
      unused.push(row)
      size--
    }
    return {
      length: () => keys.length,
      lapse: (row, now) => keys[row] === undefined ? 0 : limits.lapseOf(plans[row]!, slotsOf(row), atOf(row), now),
      free,
      decide: (compiled, key, now, cost, spends) => {
        const known = rows.get(key)
        if (!spends) {
          const copy = known === undefined ? makeSlots(stride) : copyOf(known)
          return limits.decide(compiled, copy, 0, now, cost, false)
        }
        const row = known ?? insert(key, now)
        plans[row] = compiled
        return limits.decide(compiled, slotsOf(row), atOf(row), now, cost, true)
      },
      giveBack: (compiled, key, now, cost, since) => {
        const row = rows.get(key)
        if (row !== undefined) limits.giveBack(compiled, slotsOf(row), atOf(row), now, cost, since)
      },
      remove: (key) => {
        const row = rows.get(key)
        if (row !== undefined) free(row)
      }
    }
  }

  return (limiter: string, compiled: limits.Compiled): Table => {
    const shapes = tables.get(limiter) ?? new Map<string, Table>()
    if (shapes.size === 0) tables.set(limiter, shapes)
    const known = shapes.get(compiled.shape)
    if (known !== undefined) return known
    const table = makeTable(compiled.stride)
    shapes.set(compiled.shape, table)
    all.push(table)
    return table
  }
}

const makeSlots = (length: number): limits.Slots => ({ cells: new Float64Array(length), logs: new Map() })
