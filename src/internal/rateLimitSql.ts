/**
 * The steps of `limits.ts` in SQL: a decision is one statement, whatever the limits.
 *
 * A row has the key, when it may be deleted, and its state as JSON: the time of the last decision, whether that admitted, and
 * the cells of each limit, the ban's last. A statement is made for limits of the same kinds in the same order; what else there
 * is to know of them, and all that is known of a call, are its parameters.
 *
 * It is made of layers, each of which gives the cells of the one within under the same names: as they are in the row, as what
 * has lapsed leaves them, and as the decision does. Without the `LIMIT` of each, a planner would put the layers into one
 * another, and work out again and again what one has.
 */
import type { Ban, Bucket, Limit, Limits } from "../RateLimitStore.js"
import * as limits from "./limits.js"
import { integer } from "./sqlStore.js"

export type Dialect = "pg" | "sqlite"
export type Value = string | number | null

export interface Statement {
  readonly text: string
  readonly values: ReadonlyArray<Value>
}

/** Of a call. Where `now` is null the database takes its own, and `clock` is the caller's idea of it. */
export interface At {
  readonly now: number | null
  readonly clock: number
}

export interface Statements {
  /** Its row has the `state` after the decision. */
  readonly consume: (bucket: Bucket, cost: number, at: At) => Statement
  /** Its row has the time, `now`, and the `state`, which is null if there is none. */
  readonly peek: (bucket: Bucket, at: At) => Statement
  readonly refund: (bucket: Bucket, cost: number, since: number, at: At) => Statement
  readonly reset: (bucket: Bucket) => Statement
  /** Deletes no more than that many rows that may go; each of its rows is one of them. */
  readonly deleteExpired: (batch: number, at: At) => Statement
}

// ---------------------------------------------------------------------------------------------------------------------
// the words of a dialect
// ---------------------------------------------------------------------------------------------------------------------

const wordsOf = (dialect: Dialect) =>
  dialect === "pg"
    ? {
      parameter: (position: number, type: string, _name: string) => `CAST($${position} AS ${type})`,
      begin: (_parameters: ReadonlyArray<readonly [name: string, type: string]>) => "",
      place: (position: number) => `$${position}`,
      from: "",
      beside: "",
      // an answer need not wait for a disk, nor who waits for the row
      relaxed: "WHERE set_config('synchronous_commit', 'off', true) IS NOT NULL",
      // that of the moment, and not of the statement: it may have waited for the row
      clock: "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)",
      skipLocked: " FOR UPDATE SKIP LOCKED",
      least: "LEAST",
      greatest: "GREATEST",
      json: (value: string) => `CAST(${value} AS JSONB)`,
      array: (...items: ReadonlyArray<string>) => `jsonb_build_array(${items.join(", ")})`,
      entries: (log: string) => `jsonb_array_elements(${log}) WITH ORDINALITY AS entries (value, place)`,
      gather: (value: string) => `COALESCE(jsonb_agg(${value} ORDER BY place), '[]')`,
      push: (log: string, entry: string) => `${log} || jsonb_build_array(${entry})`
    }
    : {
      // one that is used twice has to have a name, and not every client can give it one
      parameter: (_position: number, _type: string, name: string) => `p.${name}`,
      begin: (parameters: ReadonlyArray<readonly [name: string, type: string]>) =>
        `WITH p AS MATERIALIZED (SELECT ${
          parameters.map(([name, type]) => `CAST(? AS ${type}) AS ${name}`).join(", ")
        })\n`,
      place: (_position: number) => "?",
      from: "FROM p",
      beside: "p, ",
      relaxed: "",
      // it is in this process, and so is its clock
      clock: "NULL",
      skipLocked: "",
      least: "MIN",
      greatest: "MAX",
      json: (value: string) => `json(${value})`,
      array: (...items: ReadonlyArray<string>) => `json_array(${items.join(", ")})`,
      entries: (log: string) => `(SELECT value, key AS place FROM json_each(${log})) AS entries`,
      gather: (value: string) => `json_group_array(json(${value}) ORDER BY place)`,
      push: (log: string, entry: string) => `json_insert(${log}, '$[#]', ${entry})`
    }
type Words = ReturnType<typeof wordsOf>

// ---------------------------------------------------------------------------------------------------------------------
// the kinds
// ---------------------------------------------------------------------------------------------------------------------

type Cell = "a" | "b" | "c" | "log"
/** What becomes of cells; those that are not named stay. */
type Changes = { readonly [C in Cell]?: string }

/** In its texts `:name` is a cell or a parameter of the limit itself. */
interface Kind {
  readonly cells: ReadonlyArray<Cell>
  readonly settle: Changes
  readonly fits: string
  readonly spend: Changes
  readonly refund: Changes
}

const kindsOf = (words: Words): { readonly [Tag in (Limit | Ban)["_tag"]]: Kind } => {
  const { array, entries, gather, greatest, least, push } = words
  const atLeast0 = (number: string) => `${greatest}(${number}, 0)`

  const counted = {
    cells: ["a", "b"],
    fits: ":b + :cost <= :limit",
    spend: { b: ":b + :cost" },
    refund: { b: `CASE WHEN :since >= :a THEN ${atLeast0(":b - :cost")} ELSE :b END` }
  } as const
  const period = "CASE WHEN now >= :next THEN :next WHEN now >= :start THEN :start ELSE :last END"
  const end = "CASE WHEN now >= :next THEN :after WHEN now >= :start THEN :next ELSE :start END"
  const window = "(now - now % :window)"
  const elapsed = atLeast0("now - :since")
  const missing = "(:b - (now - :a) * :refill)"
  const given = `(:a - ${atLeast0(`:cost - ${elapsed} * 1000`)})`
  const forgotten = "now >= :c + :window"
  const over = "now >= :c + :window"
  const time = "CAST(value ->> 0 AS BIGINT)"
  const spent = "CAST(value ->> 1 AS BIGINT)"

  return {
    FixedWindow: {
      ...counted,
      settle: {
        a: "CASE WHEN now >= :a + :window OR :a > now OR :b = 0 THEN now ELSE :a END",
        b: "CASE WHEN now >= :a + :window THEN 0 ELSE :b END"
      }
    },
    Quota: {
      ...counted,
      settle: {
        a: `CASE WHEN ${period} > :a OR :a > ${end} OR :b = 0 THEN ${period} ELSE :a END`,
        b: `CASE WHEN ${period} > :a THEN 0 ELSE :b END`
      }
    },
    SlidingWindowCounter: {
      cells: ["a", "b", "c"],
      settle: {
        a: `CASE WHEN ${window} = :a - :window AND :b + :c > 0 THEN :a ELSE ${window} END`,
        b: `CASE WHEN ${window} > :a THEN 0 ELSE :b END`,
        c: `CASE WHEN ${window} <= :a THEN :c WHEN ${window} = :a + :window THEN :b ELSE 0 END`
      },
      fits: ":c * (:window - now + :a) + (:b + :cost) * :window <= :limit * :window",
      spend: { b: ":b + :cost" },
      refund: {
        b: `CASE WHEN :since >= :a THEN ${atLeast0(":b - :cost")} ELSE :b END`,
        c: `CASE WHEN :since < :a AND :since >= :a - :window THEN ${atLeast0(":c - :cost")} ELSE :c END`
      }
    },
    SlidingWindowLog: {
      cells: ["a", "log"],
      settle: {
        // what a clock that was set back has left in the future counts as of now; what came at one time is one entry
        a: `${least}(:a, now)`,
        log: `(SELECT ${gather(array("place", "spent"))}
          FROM (SELECT ${least}(${time}, now) AS place, CAST(SUM(${spent}) AS BIGINT) AS spent FROM ${entries(":log")}
            GROUP BY 1) AS entries
          WHERE place > now - :window)`
      },
      fits: `(SELECT COALESCE(SUM(${spent}), 0) FROM ${entries(":log")}) + :cost <= :limit`,
      spend: {
        a: "now",
        log: push(":log", array("now", ":cost"))
      },
      refund: {
        log: `(SELECT ${gather(`CASE WHEN ${time} = :since THEN ${array(time, `${spent} - :cost`)} ELSE value END`)}
          FROM ${entries(":log")} WHERE ${time} <> :since OR ${spent} > :cost)`
      }
    },
    TokenBucket: {
      cells: ["a", "b"],
      settle: {
        a: `CASE WHEN :a > now OR ${missing} <= 0 THEN now ELSE :a END`,
        b: `CASE WHEN ${missing} <= 0 THEN 0 ELSE :b END`
      },
      fits: `${missing} + :cost <= :full`,
      spend: { a: "now", b: `${missing} + :cost` },
      refund: { a: "now", b: atLeast0(`${missing} - ${atLeast0(`:cost - ${elapsed} * :refill`)}`) }
    },
    Gcra: {
      cells: ["a"],
      settle: { a: `CASE WHEN :a <= now * 1000 THEN 0 ELSE ${least}(:a, now * 1000 + :tolerance) END` },
      fits: `${atLeast0(":a - now * 1000")} + :cost <= :tolerance`,
      spend: { a: `${greatest}(:a, now * 1000) + :cost` },
      refund: { a: `CASE WHEN ${given} <= now * 1000 THEN 0 ELSE ${given} END` }
    },
    BackOff: {
      cells: ["a", "b", "c"],
      settle: {
        a: `CASE WHEN ${forgotten} THEN 0 WHEN :c > now THEN ${atLeast0(":a - :c + now")} ELSE :a END`,
        b: `CASE WHEN ${forgotten} THEN 0 ELSE :b END`,
        c: `CASE WHEN ${forgotten} THEN 0 WHEN :c > now THEN now ELSE :c END`
      },
      fits: ":a <= now",
      spend: {
        a: `CASE WHEN :b + :cost >= :limit
          THEN now + CAST(${
          words.json(":delays")
        } ->> CAST(${least}(:b + :cost - :limit, :longest) AS INTEGER) AS BIGINT)
          ELSE :a END`,
        b: ":b + :cost",
        c: "now"
      },
      refund: { a: "0", b: "0", c: "0" }
    },
    Ban: {
      cells: ["a", "b", "c"],
      settle: {
        a: `CASE WHEN :a <= now THEN 0 ELSE ${least}(:a, now + :duration) END`,
        b: `CASE WHEN ${over} THEN 0 ELSE :b END`,
        c: `CASE WHEN ${over} OR :c <= now THEN :c ELSE now END`
      },
      fits: ":a <= now",
      spend: {
        a: "CASE WHEN :b + 1 >= :limit THEN now + :duration ELSE :a END",
        b: "(:b + 1) % :limit",
        c: "CASE WHEN :b = 0 THEN now ELSE :c END"
      },
      refund: {}
    }
  }
}

type Parameters = { readonly [name: string]: Value }

/** What is more than that fits into nothing. */
const whole = (number: number) => Math.min(number, Number.MAX_SAFE_INTEGER)

/** Of each limit, of a call that spends `cost` or gives it back; `clock` is the caller's. */
const parametersOf = (limit: Limit | Ban, cost: number, clock: number): Parameters => {
  switch (limit._tag) {
    case "FixedWindow":
    case "SlidingWindowLog":
      return { limit: limit.limit, window: limit.window, cost }
    case "SlidingWindowCounter": {
      const { window } = limit
      return { limit: limit.limit, window, cost: Math.floor(whole(cost * window) / window) }
    }
    case "Quota": {
      const { after, last, next, start } = limits.periodsOf(limit, clock)
      return { limit: limit.limit, cost, last, start, next, after }
    }
    case "TokenBucket":
      return { full: limit.limit * limit.every, refill: limit.refill, cost: whole(cost * limit.every) }
    case "Gcra":
      return { tolerance: whole(limit.burst * limit.interval), cost: whole(cost * limit.interval) }
    case "BackOff": {
      const { delays, window } = limit
      return { limit: limit.limit, window, cost, delays: JSON.stringify(delays), longest: delays.length - 1 }
    }
    case "Ban":
      return { limit: limit.limit, window: limit.window, duration: limit.duration }
  }
}

/** After how long without a decision a key is as good as new, in milliseconds: at most. */
const lapseOf = (limit: Limit | Ban): number => {
  switch (limit._tag) {
    case "Quota":
    case "SlidingWindowCounter":
      return 2 * limit.window
    case "Gcra":
      return Math.ceil(whole(limit.burst * limit.interval) / 1000)
    case "Ban":
      return Math.max(limit.window, limit.duration)
    default:
      return limit.window
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// the statements
// ---------------------------------------------------------------------------------------------------------------------

export const statementsOf = (dialect: Dialect, table: string): Statements => {
  const words = wordsOf(dialect)
  const kinds = kindsOf(words)

  /** A text is made once for the kinds of limits, with the names of the parameters that it uses, in their order. */
  const made = new Map<string, { readonly text: string; readonly names: ReadonlyArray<string> }>()
  const statement = (
    name: string,
    of: Limits,
    shared: Parameters,
    cost: number,
    clock: number,
    make: (parts: ReadonlyArray<Part>, of: (name: string) => string) => string
  ): Statement => {
    const every = limits.everyOf(of)
    const parameters: Record<string, Value> = { ...shared }
    every.forEach((limit, i) => {
      for (const [name, value] of Object.entries(parametersOf(limit, cost, clock))) parameters[`${name}${i}`] = value
    })
    const id = `${name} ${every.map(({ _tag }) => _tag).join()}`
    let known = made.get(id)
    if (known === undefined) {
      const used = new Map<string, string>()
      const of = (name: string) => {
        const text = used.get(name) ?? words.parameter(used.size + 1, typeOf(parameters[name]), name)
        used.set(name, text)
        return text
      }
      const parts = every.map(({ _tag }, i): Part => {
        const kind = kinds[_tag]
        const at = (text: string) =>
          text.replace(/:([a-z]+)/g, (_, name: string) => {
            if (kind.cells.some((cell) => cell === name)) return `${name}${i}`
            return of(`${name}${i}` in parameters ? `${name}${i}` : name)
          })
        return { kind, place: i, at, isBan: _tag === "Ban" }
      })
      const body = make(parts, of)
      const names = [...used.keys()]
      known = { text: words.begin(names.map((name) => [name, typeOf(parameters[name])])) + body, names }
      made.set(id, known)
    }
    return { text: known.text, values: known.names.map((name) => parameters[name] ?? null) }
  }

  /** What has lapsed is taken out of the cells of a row, or of one that is yet to be. */
  const settled = (parts: ReadonlyArray<Part>, of: (name: string) => string, row: string | undefined): string => {
    const stored = ({ kind, place }: Part, cell: Cell) => {
      if (row === undefined) return cell === "log" ? words.json("'[]'") : "CAST(0 AS BIGINT)"
      const [state, i] = [`${row}.state -> ${place + 2}`, kind.cells.indexOf(cell)]
      return cell === "log" ? `${state} -> ${i}` : `CAST(${state} ->> ${i} AS BIGINT)`
    }
    return `SELECT now, expires_at, ${cellsOf(parts, ({ kind }, cell) => kind.settle[cell] ?? `:${cell}`)}
FROM ${words.beside}(SELECT COALESCE(${of("given")}, ${words.clock}) AS now,
  ${row === undefined ? "0" : `${row}.expires_at`} AS expires_at,
  ${cellsOf(parts, stored)}
${words.from}${words.relaxed} LIMIT 1) AS cells LIMIT 1`
  }

  const stateOf = (admitted: string, parts: ReadonlyArray<Part>, of: (part: Part, cell: Cell) => string): string =>
    words.array(
      "now",
      admitted,
      ...parts.map((part) =>
        words.array(...part.kind.cells.map((cell) => {
          const text = part.at(of(part, cell))
          return cell === "log" ? words.json(text) : text
        }))
      )
    )

  const consume: Statements["consume"] = (bucket, cost, { clock, now }) => {
    const every = limits.everyOf(bucket.limits)
    const shared = { key: limits.nameOf(bucket), given: now, lapse: whole(Math.max(...every.map(lapseOf))) }
    return statement("consume", bucket.limits, shared, cost, clock, (parts, of) => {
      const [fits, free] = [false, true].map((isBan) =>
        parts.filter((part) => part.isBan === isBan).map(({ at, kind }) => at(kind.fits)).join("\n  AND ") || "TRUE"
      )
      const spent = ({ isBan, kind }: Part, cell: Cell) =>
        kind.spend[cell] === undefined
          ? `:${cell}`
          : `CASE WHEN ${isBan ? "NOT fits" : "fits AND :cost > 0"} AND free THEN ${kind.spend[cell]} ELSE :${cell} END`
      const lapse = of("lapse")
      // when it may go is moved now and then only: a row none of whose indexes change is written where it is
      const decision = (row?: string) =>
        `SELECT ${stateOf("CASE WHEN fits AND free THEN 1 ELSE 0 END", parts, spent)} AS state,
  CASE WHEN expires_at BETWEEN now + ${lapse} AND now + 2 * ${lapse} THEN expires_at ELSE now + 2 * ${lapse} END AS expires_at
FROM ${words.beside}(SELECT settled.*, ${fits} AS fits, ${free} AS free
FROM ${words.beside}(${settled(parts, of, row)}) AS settled LIMIT 1) AS judged`
      return `INSERT INTO ${table} AS it (key, state, expires_at)
SELECT ${of("key")}, fresh.* FROM ${words.beside}(${decision()}) AS fresh WHERE TRUE
ON CONFLICT (key) DO UPDATE SET (state, expires_at) = (${decision("it")})
RETURNING CAST(state AS TEXT) AS state`
    })
  }

  const refund: Statements["refund"] = (bucket, cost, since, { clock, now }) =>
    statement(
      "refund",
      bucket.limits,
      { key: limits.nameOf(bucket), given: now, since },
      cost,
      clock,
      (parts, of) =>
        `UPDATE ${table} AS it SET state = (SELECT ${
          stateOf("1", parts, ({ kind }, cell) => kind.refund[cell] ?? `:${cell}`)
        }
FROM ${words.beside}(${settled(parts, of, "it")}) AS settled)
WHERE key = (SELECT ${of("key")} ${words.from})`
    )

  return {
    consume,
    refund,
    peek: (bucket, { now }) => ({
      text: `SELECT COALESCE(CAST(${words.place(1)} AS BIGINT), ${words.clock}) AS now,
  (SELECT CAST(state AS TEXT) FROM ${table} WHERE key = ${words.place(2)}) AS state`,
      values: [now, limits.nameOf(bucket)]
    }),
    reset: (bucket) => ({
      text: `DELETE FROM ${table} WHERE key = ${words.place(1)}`,
      values: [limits.nameOf(bucket)]
    }),
    deleteExpired: (batch, { now }) => ({
      text: `WITH expired AS MATERIALIZED (
  SELECT key FROM ${table} WHERE expires_at <= (SELECT COALESCE(CAST(${words.place(1)} AS BIGINT), ${words.clock}))
  ORDER BY expires_at LIMIT ${words.place(2)}${words.skipLocked}
) DELETE FROM ${table} WHERE key IN (SELECT key FROM expired) RETURNING key`,
      values: [now, batch]
    })
  }
}

const typeOf = (value: Value | undefined): string => typeof value === "string" ? "TEXT" : "BIGINT"

/** A limit in a statement. */
interface Part {
  readonly kind: Kind
  readonly place: number
  /** Resolves the names of a text. */
  readonly at: (text: string) => string
  readonly isBan: boolean
}

const cellsOf = (
  parts: ReadonlyArray<Part>,
  of: (part: Part, cell: Cell) => string
) => parts.flatMap((part) => part.kind.cells.map((cell) => part.at(`${of(part, cell)} AS :${cell}`))).join(",\n  ")

// ---------------------------------------------------------------------------------------------------------------------
// states
// ---------------------------------------------------------------------------------------------------------------------

export interface State {
  /** The time of the last decision on it, and whether that admitted. */
  readonly now: number
  readonly admitted: boolean
  readonly slots: limits.Slots
}

/** What a row says to limits of its shape. */
export const readState = (text: unknown, of: Limits): State => {
  const every = limits.everyOf(of)
  const [now, admitted, ...states] = arrayOf(typeof text === "string" ? JSON.parse(text) : text, every.length + 2)
  const slots = emptySlots(every.length * limits.width)
  every.forEach(({ _tag }, i) => {
    const at = i * limits.width
    const state = arrayOf(states[i])
    if (_tag !== "SlidingWindowLog") return slots.cells.set(state.map(integer), at)
    const log = arrayOf(state[1]).flatMap((entry) => arrayOf(entry, 2).map(integer))
    slots.cells[at] = integer(state[0])
    slots.cells[at + 1] = log.reduce((sum, spent, j) => j % 2 === 0 ? sum : sum + spent, 0)
    slots.logs.set(at, log)
  })
  return { now: integer(now), admitted: admitted === 1, slots }
}

export const emptySlots = (stride: number): limits.Slots => ({
  cells: new Float64Array(stride),
  logs: new Map()
})

const arrayOf = (value: unknown, length?: number): ReadonlyArray<unknown> => {
  if (!Array.isArray(value) || (length !== undefined && value.length !== length)) {
    throw new TypeError("a row has the state of other limits")
  }
  return value
}
