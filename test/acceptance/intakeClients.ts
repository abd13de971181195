/** The clients that `intake.ts` sends against its server, in a process of their own. They go with the one that started it. */
import * as Net from "node:net"
import { performance } from "node:perf_hooks"

export interface Attack {
  readonly kind: "slow" | "idle" | "endless" | "burst"
  readonly port: number
  readonly connections: number
  /** For how long new connections are made, where they end and begin again. */
  readonly seconds: number
  /** Seconds after which a connection is given up. */
  readonly patience: number
}

/** What has become of a connection. */
export interface Outcome {
  readonly what: string
  /** Of the answers, in their order. */
  readonly statuses: ReadonlyArray<number>
  /** Seconds until the answer, and until its end, from when the server has taken the connection. */
  readonly answered: number
  readonly ended: number
  /** An error before there was an answer. */
  readonly error: string | undefined
  readonly givenUp: boolean
}

interface Connection {
  /** When the server has taken it, or has not. */
  readonly taken: Promise<void>
  /** What is answered and ended is then counted from here. */
  readonly write: (text: string) => void
  readonly outcome: Promise<Outcome>
}

/**
 * Begins when a first request has been answered: the system connects whom a server has not yet taken, and Node takes one
 * connection in a turn of its loop.
 */
const open = (
  { patience, port }: Attack,
  what: string,
  { allowHalfOpen = false, begin, onAnswer }: {
    readonly allowHalfOpen?: boolean
    readonly begin?: (socket: Net.Socket) => void
    readonly onAnswer?: (socket: Net.Socket) => void
  } = {}
): Connection => {
  let [began, answered] = [NaN, NaN]
  const passed = () => (performance.now() - began) / 1000
  const statuses: Array<number> = []
  let [error, givenUp]: [string | undefined, boolean] = [undefined, false]
  const socket = Net.connect({ port, host: "127.0.0.1", allowHalfOpen }, () => socket.write(head("GET /ping")))
  const taken = new Promise<void>((resolve) => socket.once("data", () => resolve()).once("close", () => resolve()))
  socket.once("data", () => {
    began = performance.now()
    begin?.(socket)
    socket.on("data", (bytes) => {
      const found = bytes.toString("latin1").matchAll(/HTTP\/1\.1 (\d+)/g)
      for (const [, status] of found) statuses.push(Number(status))
      if (!Number.isNaN(answered)) return
      answered = passed()
      onAnswer?.(socket)
    })
  })
  socket.on("error", ({ message }) => {
    if (statuses.length === 0) error = message
  })
  const timer = setTimeout(() => {
    givenUp = true
    socket.destroy()
  }, patience * 1000)
  const outcome = new Promise<Outcome>((resolve) => {
    socket.once("close", () => {
      clearTimeout(timer)
      resolve({ what, statuses, answered, ended: passed(), error, givenUp })
    })
  })
  const write = (text: string) => {
    began = performance.now()
    socket.write(text)
  }
  return { taken, write, outcome }
}

const head = (line: string, ...fields: ReadonlyArray<string>) =>
  [`${line} HTTP/1.1`, "Host: localhost", ...fields, "", ""].join("\r\n")

/** A hundred at a time. */
const openAll = async (count: number, make: (i: number) => Connection): Promise<ReadonlyArray<Connection>> => {
  const connections: Array<Connection> = []
  while (connections.length < count) {
    connections.push(make(connections.length))
    if (connections.length % 100 === 0 || connections.length === count) {
      await Promise.all(connections.slice(-100).map(({ taken }) => taken))
    }
  }
  return connections
}

const outcomesOf = (connections: ReadonlyArray<Connection>) => Promise.all(connections.map(({ outcome }) => outcome))

/** A byte a second, until the connection ends. */
const slow = async (attack: Attack, count: number) => {
  const connections = await openAll(count, (i) => {
    const path = i % 5 === 4 ? "/ignore" : "/upload"
    const chunked = i % 2 === 1
    const [field, byte] = chunked ? ["Transfer-Encoding: chunked", "1\r\nx\r\n"] : ["Content-Length: 100000", "x"]
    return open(attack, `${path}, ${chunked ? "chunked" : "length"}`, {
      begin: (socket) => {
        socket.write(head(`POST ${path}`, field))
        const timer = setInterval(() => socket.writable && socket.write(byte), 1000)
        socket.once("close", () => clearInterval(timer))
      }
    })
  })
  return outcomesOf(connections)
}

/** One half sends nothing, the other half of a header, from when all of them are there. */
const idle = async (attack: Attack, count: number) => {
  const connections = await openAll(count, (i) => open(attack, i % 2 === 0 ? "kept" : "half a header"))
  for (const [i, { write }] of connections.entries()) {
    if (i % 2 === 1) write("GET /ping HTTP/1.1\r\nHost: localhost\r\nX-Half: ")
  }
  process.send?.("there")
  return outcomesOf(connections)
}

const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`

/** As fast as they can; when one has ended, the next one begins. Every other one goes on after the answer. */
const endless = async (attack: Attack, count: number, seconds: number) => {
  const until = performance.now() + seconds * 1000
  const outcomes: Array<Outcome> = []
  const bytes = Buffer.from(chunk)
  const run = async (i: number) => {
    const path = i % 2 === 0 ? "/upload" : "/ignore"
    const rude = i % 4 >= 2
    while (performance.now() < until) {
      const { outcome } = open(attack, `${path}, ${rude ? "goes on" : "stops"}`, {
        allowHalfOpen: rude,
        begin: (socket) => {
          socket.write(head(`POST ${path}`, "Transfer-Encoding: chunked"))
          const go = () => {
            while (socket.writable && socket.write(bytes));
            if (socket.writable) socket.once("drain", go)
          }
          go()
        },
        onAnswer: (socket) => {
          if (!rude) socket.end()
        }
      })
      outcomes.push(await outcome)
    }
  }
  await Promise.all(Array.from({ length: count }, (_, i) => run(i)))
  return outcomes
}

/** All at once. */
const burst = async (attack: Attack, count: number) => {
  const connections = await openAll(count, () => open(attack, "at once", { onAnswer: (socket) => socket.end() }))
  for (const { write } of connections) write(head("GET /hold"))
  return outcomesOf(connections)
}

const run = (attack: Attack): Promise<ReadonlyArray<Outcome>> => {
  switch (attack.kind) {
    case "slow":
      return slow(attack, attack.connections)
    case "idle":
      return idle(attack, attack.connections)
    case "endless":
      return endless(attack, attack.connections, attack.seconds)
    case "burst":
      return burst(attack, attack.connections)
  }
}

if (process.send !== undefined) {
  process.once("disconnect", () => process.exit())
  process.on("message", (attack: Attack) => void run(attack).then((outcomes) => process.send?.(outcomes)))
  process.send("ready")
}
