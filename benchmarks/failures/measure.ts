/**
 * The process of one round: checks what each case is answered with, warms all of them up, and times them in turn, a
 * couple of milliseconds each, the other way around every other time. Prints one line of JSON.
 *
 *     node measure.js <warm-up, CPU ms> <measuring, CPU ms of a case>
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as assert from "node:assert/strict"
import { quantile } from "../statistics.js"
import { acceptOf, app, type Case, cases } from "./work.js"

/** Microseconds a request, by the name of the case. */
export interface Measured {
  readonly [name: string]: {
    /** Of wall time, in the quietest quarter of the samples. */
    readonly wall: number
    /** Of CPU time, over all samples and all threads: the garbage collector's included. */
    readonly cpu: number
  }
}

const handler = HttpApp.toWebHandler(app)
const requestOf = (one: Case) =>
  new Request(`http://localhost${one.path}`, { method: one.method ?? "GET", headers: { accept: acceptOf(one) } })

const send = async (one: Case) => (await handler(requestOf(one))).text()

const cpu = () => {
  const { system, user } = process.cpuUsage()
  return user + system
}

/** So many that a sample takes some two milliseconds. */
const batch = 20

const sample = async (one: Case) => {
  const [began, used] = [performance.now(), cpu()]
  for (let i = 0; i < batch; i++) await send(one)
  const taken = { wall: (performance.now() - began) * 1000 / batch, cpu: (cpu() - used) / batch }
  // lets finalizers run, as a server does
  await new Promise(setImmediate)
  return taken
}

for (const one of cases) {
  const response = await handler(requestOf(one))
  assert.equal(response.status, one.status, one.name)
  const text = await response.text()
  assert.ok(text.includes(one.says), `${one.name}: ${text}`)
  const id = response.headers.get("x-request-id")
  assert.ok(id !== null && (one.status < 400 || text.includes(id)), `${one.name}: ${text}`)
}

const [warmUp, measuring] = process.argv.slice(2).map(Number) as [number, number]
for (const end = cpu() + warmUp * 1000; cpu() < end;) {
  for (const one of cases) await sample(one)
}
const samples = new Map(cases.map(({ name }) => [name, [] as Array<{ readonly wall: number; readonly cpu: number }>]))
for (const end = cpu() + measuring * 1000 * cases.length; cpu() < end;) {
  for (const order of [cases, [...cases].reverse()]) {
    for (const one of order) samples.get(one.name)!.push(await sample(one))
  }
}
const measured: Measured = Object.fromEntries(
  Array.from(samples, ([name, all]) => [name, {
    wall: quantile(all.map(({ wall }) => wall), 0.25),
    cpu: all.reduce((sum, { cpu }) => sum + cpu, 0) / all.length
  }])
)
console.log(JSON.stringify(measured))
