/**
 * A store in memory, asked by random keys, beside the least that keeps a Map in the order of use: the same keys are taken out of
 * one, and put in again. Both are in one process, started with `--expose-gc`, and take turns.
 */
import * as assert from "node:assert/strict"
import { quantile } from "./statistics.js"

/** Nanoseconds. */
export interface Cost {
  /** Of wall time, in the quietest tenth of the samples. */
  readonly wall: number
  /** Of CPU time, over all samples and all threads: the collector's, and moving house when a Map is full. */
  readonly cpu: number
}

export interface Measured {
  readonly store: Cost
  readonly map: Cost
  /** Bytes of resident memory that a key has taken. */
  readonly memory: number
}

/** Gives how many of the keys it has found. */
type Ask = (keys: ReadonlyArray<string>) => number

export interface Plan {
  readonly size: number
  /** How often each of the two is asked. */
  readonly times: number
  /** As it comes: every reader has a copy of its own. */
  readonly keyOf: (i: number) => string
  /** Makes a store of that many keys. */
  readonly fill: () => Ask
}

export const besideMap = ({ fill, keyOf, size, times }: Plan): Measured => {
  const before = resident()
  const fromStore = fill()
  const memory = (resident() - before) / size

  const map = new Map<string, object>()
  const value = {}
  for (let i = 0; i < size; i++) map.set(keyOf(i), value)
  const fromMap: Ask = (keys) => {
    let found = 0
    for (const key of keys) {
      if (map.delete(key)) found++
      map.set(key, value)
    }
    return found
  }

  // keys are made beforehand, and anew for each of the two
  const sample = (ask: Ask, picks: ReadonlyArray<number>) => {
    const keys = picks.map(keyOf)
    const [began, used] = [performance.now(), cpu()]
    const found = ask(keys)
    const taken = { wall: (performance.now() - began) * 1e6 / batch, cpu: (cpu() - used) * 1000 / batch }
    assert.equal(found, batch)
    return taken
  }
  const [ofStore, ofMap]: [Array<Cost>, Array<Cost>] = [[], []]
  const batches = Math.ceil(times / batch)
  for (let i = -batches / 10; i < batches; i++) {
    const picks = Array.from({ length: batch }, () => Math.floor(Math.random() * size))
    const [first, second] = i % 2 === 0 ? [fromStore, fromMap] : [fromMap, fromStore]
    const samples = new Map([[first, sample(first, picks)], [second, sample(second, picks)]])
    if (i < 0) continue
    ofStore.push(samples.get(fromStore)!)
    ofMap.push(samples.get(fromMap)!)
  }
  return { memory, store: costOf(ofStore), map: costOf(ofMap) }
}

/** Half a millisecond at most: so many go by undisturbed. */
const batch = 250

const resident = () => {
  // what is left of young ones takes a second round
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  return process.memoryUsage().rss
}

const cpu = () => {
  const { system, user } = process.cpuUsage()
  return user + system
}

const costOf = (samples: ReadonlyArray<Cost>): Cost => ({
  wall: quantile(samples.map(({ wall }) => wall), 0.1),
  cpu: samples.reduce((sum, { cpu }) => sum + cpu, 0) / samples.length
})
