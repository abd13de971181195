/**
 * The process of the load: each connection, which stays open, sends one request over and over. First each sends its
 * next one as soon as it has the answer to the last, which says what the server can do; then requests fall due at a
 * fixed rate, whether or not earlier ones are answered, and a latency counts from when the request was due, so that a
 * pause of the server is paid for by all that it kept waiting (no coordinated omission).
 *
 *     node load.js <job as JSON>
 */
import * as Fs from "node:fs"
import * as Net from "node:net"
import { quantile } from "../statistics.js"

export interface Job {
  readonly port: number
  /** Of the server. */
  readonly pid: number
  /** The first connection sends the first, and so on, from the start again where there are fewer. */
  readonly requests: ReadonlyArray<Sent>
  readonly connections: number
  /** Requests, or as many as are answered in so many milliseconds of the server's CPU time. */
  readonly warmUp: number
  readonly patience: number
  /** Milliseconds of the server's CPU time. */
  readonly measuring: number
  /** Milliseconds at the rate. */
  readonly pacing: number
  /** Requests a second. */
  readonly rate: number
}

/** What goes over the wire, and the status that comes of it. */
export interface Sent {
  readonly text: string
  readonly status: number
}

/** Milliseconds. */
export interface Latency {
  readonly p50: number
  readonly p99: number
}

export interface Measured {
  readonly requests: number
  /** Requests a second that the server answered. */
  readonly throughput: number
  /** Microseconds of the server's CPU time a request, all threads and the kernel's share included. */
  readonly cpu: number
  /** Those of them that the kernel has used. */
  readonly system: number
  /** How much of the time the server was on a CPU: well under 1, and it was the load that could not do more. */
  readonly busy: number
  readonly saturated: Latency
  /** `undefined` where the rate was more than the server can do: then it would only say how long it was asked for it. */
  readonly paced?: Latency
  /** Of an answer, with its header. */
  readonly bytes: number
  /** Megabytes of resident memory afterwards. */
  readonly memory: number
}

const { connections, measuring, pacing, patience, pid, port, rate, requests, warmUp } = JSON.parse(
  process.argv[2]!
) as Job
const messages = requests.map(({ status, text }) => ({
  bytes: Buffer.from(text, "latin1"),
  statusLine: `HTTP/1.1 ${status} `
}))

const lastChunk = Buffer.from("\r\n0\r\n\r\n")

class Connection {
  /** When the request that is under way was sent, or was due. */
  since = 0
  #unread = 0
  #head = ""
  /** In place of a length: the last bytes that have come. */
  #tail: Buffer | undefined
  readonly #socket: Net.Socket

  constructor(
    readonly message: typeof messages[number],
    opened: () => void,
    readonly answered: (connection: Connection) => void
  ) {
    this.#socket = Net.connect({
      host: "127.0.0.1",
      port,
      noDelay: true,
      onread: { buffer: Buffer.allocUnsafe(65_536), callback: (length, buffer) => this.#read(length, buffer) }
    })
    this.#socket.on("connect", opened)
    this.#socket.on("close", () => fail("the server has closed a connection"))
    this.#socket.on("error", (error) => fail(error.message))
  }

  send(since: number) {
    this.since = since
    this.#socket.write(this.message.bytes)
  }

  #read(length: number, buffer: Uint8Array): boolean {
    received += length
    if (this.#tail !== undefined) return this.#chunked(Buffer.from(buffer.buffer, buffer.byteOffset, length))
    if (this.#unread > 0) this.#unread -= length
    else {
      this.#head += Buffer.from(buffer.buffer, buffer.byteOffset, length).toString("latin1")
      const end = this.#head.indexOf("\r\n\r\n")
      if (end < 0) return true
      const { statusLine } = this.message
      if (!this.#head.startsWith(statusLine)) fail(`the answer is not ${statusLine}: ${this.#head.slice(0, end)}`)
      if (/\r\ntransfer-encoding: *chunked/i.test(this.#head.slice(0, end))) {
        const rest = Buffer.from(this.#head.slice(end + 4), "latin1")
        this.#head = ""
        this.#tail = Buffer.alloc(0)
        return this.#chunked(rest)
      }
      const size = /\r\ncontent-length: *(\d+)/i.exec(this.#head.slice(0, end))
      this.#unread = (size === null ? 0 : Number(size[1])) - (this.#head.length - end - 4)
      this.#head = ""
    }
    if (this.#unread < 0) fail("more came than was asked for")
    if (this.#unread === 0) this.answered(this)
    return true
  }

  /** The end of a chunked body is known by its last bytes, which compressed ones have by chance once in 2^56. */
  #chunked(bytes: Buffer): boolean {
    this.#tail = Buffer.concat([this.#tail!, bytes]).subarray(-lastChunk.length)
    if (this.#tail.equals(lastChunk)) {
      this.#tail = undefined
      this.answered(this)
    }
    return true
  }
}

/** Of all answers. */
let received = 0

const fail = (reason: string): never => {
  console.error(reason)
  process.exit(1)
}

/** What to do with a connection that is free again. */
let answered: (connection: Connection) => void = () => {}
const pool: Array<Connection> = []
for (let i = 0; i < connections; i++) {
  await new Promise<void>((resolve) =>
    pool.push(new Connection(messages[i % messages.length]!, resolve, (connection) => answered(connection)))
  )
}

const now = () => performance.now()

/** Sends on all connections until it is over, and comes back when each has its last answer. */
const saturate = (latencies: Array<number>, isOver: () => boolean): Promise<void> =>
  new Promise((resolve) => {
    let free = 0
    answered = (connection) => {
      const at = now()
      latencies.push(at - connection.since)
      if (!isOver()) connection.send(at)
      else if (++free === connections) resolve()
    }
    for (const connection of pool) connection.send(now())
  })

/** The same for requests that fall due at the rate, for so many milliseconds. `false` where they could not be sent in time. */
const pace = (millis: number, latencies: Array<number>): Promise<boolean> =>
  new Promise((resolve) => {
    const began = now()
    let requests = Math.ceil(millis * rate / 1000)
    const end = began + millis * 1.25 + 100
    const dueAt = (i: number) => began + i * 1000 / rate
    const free = [...pool]
    let sent = 0
    let inTime = true
    answered = (connection) => {
      latencies.push(now() - connection.since)
      free.push(connection)
    }
    // asks again and again: a timer would be late by up to a millisecond
    const tick = () => {
      while (sent < requests && free.length > 0 && dueAt(sent) <= now()) free.shift()!.send(dueAt(sent++))
      if (sent < requests && now() > end) {
        requests = sent
        inTime = false
      }
      if (sent < requests || free.length < connections) setImmediate(tick)
      else resolve(inTime)
    }
    tick()
  })

const ofServer = (file: string): string => Fs.readFileSync(`/proc/${pid}/${file}`, "latin1")
const isKnown = Fs.existsSync(`/proc/${pid}/stat`)

/** Milliseconds that the server has been on a CPU, in steps of ten; where that cannot be known, it is taken to be always. */
const cpuTimes = (): { readonly user: number; readonly system: number } => {
  if (!isKnown) return { user: now(), system: 0 }
  // the name of the command, which stands in brackets, may hold anything
  const fields = ofServer("stat").split(") ").at(-1)!.split(" ")
  return { user: Number(fields[11]) * 10, system: Number(fields[12]) * 10 }
}
const cpuTime = (): number => {
  const { system, user } = cpuTimes()
  return user + system
}

const memory = (): number => isKnown ? Number(/VmRSS:\s+(\d+) kB/.exec(ofServer("status"))?.[1]) / 1024 : NaN

const latency = (values: ReadonlyArray<number>): Latency => ({
  p50: quantile(values, 0.5),
  p99: quantile(values, 0.99)
})

/** Whether the server has been on a CPU for so long, from now on: by wall time, it would be less on a machine with other work. */
const lasting = (millis: number) => {
  const end = cpuTime() + millis
  let over = millis <= 0
  const timer = setInterval(() => over = cpuTime() >= end, 5)
  return { isOver: () => over, stop: () => clearInterval(timer) }
}

const warm: Array<number> = []
const warming = lasting(patience)
await saturate(warm, () => warm.length >= warmUp || warming.isOver())
warming.stop()

const saturated: Array<number> = []
received = 0
const systemBefore = cpuTimes().system
const cpuBefore = cpuTime()
const began = now()
const working = lasting(measuring)
await saturate(saturated, working.isOver)
working.stop()
const took = now() - began
const cpu = cpuTime() - cpuBefore
const system = cpuTimes().system - systemBefore
const bytesEach = received / saturated.length

const paced: Array<number> = []
const inTime = await pace(pacing, paced)
const measured: Measured = {
  requests: saturated.length,
  throughput: saturated.length * 1000 / took,
  cpu: cpu * 1000 / saturated.length,
  system: system * 1000 / saturated.length,
  busy: cpu / took,
  saturated: latency(saturated),
  ...inTime && pacing > 0 && { paced: latency(paced) },
  bytes: bytesEach,
  memory: memory()
}
console.log(JSON.stringify(measured))
process.exit()
