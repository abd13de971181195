import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as circuits from "../../src/internal/circuit.js"

const make = () => circuits.make({ failures: 3, first: 1000, most: 8000 })

/** One that has failed as often as it may, at 0. */
const opened = () => {
  const circuit = make()
  for (let i = 0; i < 3; i++) circuit.failed(0, false)
  return circuit
}

describe("a circuit", () => {
  it("lets everybody ask until a store has failed so many times in a row", () => {
    const circuit = make()
    circuit.failed(0, false)
    circuit.failed(0, false)
    circuit.succeeded()
    circuit.failed(0, false)
    circuit.failed(0, false)
    assert.isTrue(circuit.mayAsk(0))
    circuit.failed(0, false)
    assert.isFalse(circuit.mayAsk(0))
  })

  it("lets one ask after a while, and the others when that was answered", () => {
    const circuit = opened()
    assert.deepStrictEqual([999, 1000, 1000, 1999].map(circuit.mayAsk), [false, "alone", false, false])
    circuit.succeeded()
    assert.isTrue(circuit.mayAsk(1999))
    // and a store has to fail as often as before
    circuit.failed(2000, false)
    circuit.failed(2000, false)
    assert.isTrue(circuit.mayAsk(2000))
    circuit.failed(2000, false)
    assert.deepStrictEqual([2000, 2999, 3000].map(circuit.mayAsk), [false, false, "alone"])
  })

  it("waits twice as long each time, up to the most", () => {
    const circuit = opened()
    let now = 0
    for (const pause of [1000, 2000, 4000, 8000, 8000]) {
      assert.isFalse(circuit.mayAsk(now + pause - 1))
      assert.strictEqual(circuit.mayAsk(now + pause), "alone")
      now += pause + 100
      circuit.failed(now, true)
    }
  })

  it("is not moved by those that were asked before it opened", () => {
    const circuit = opened()
    for (let i = 0; i < 100; i++) circuit.failed(500, false)
    assert.deepStrictEqual([999, 1000].map(circuit.mayAsk), [false, "alone"])
    circuit.failed(1050, false)
    assert.isFalse(circuit.mayAsk(1999))
    // but a late answer is one
    circuit.succeeded()
    assert.isTrue(circuit.mayAsk(1999))
  })

  it("lets another ask where it will not be known what has become of the first", () => {
    const told = opened()
    assert.strictEqual(told.mayAsk(1000), "alone")
    told.abandoned()
    assert.deepStrictEqual([1000, 1000].map(told.mayAsk), ["alone", false])
    // and after a while where nobody says so
    const silent = opened()
    assert.deepStrictEqual([1000, 1999, 2000].map(silent.mayAsk), ["alone", false, "alone"])
  })

  it("keeps nobody waiting by a clock that was set back", () => {
    const circuit = circuits.make({ failures: 1, first: 1000, most: 8000 })
    circuit.failed(1_000_000, false)
    assert.isFalse(circuit.mayAsk(1_000_000))
    assert.strictEqual(circuit.mayAsk(500_000), "alone")
  })

  it("never asks a dead store more than once in a while, and never forgets it", () => {
    FastCheck.assert(FastCheck.property(FastCheck.array(FastCheck.nat(3000), { maxLength: 200 }), (steps) => {
      const circuit = opened()
      let [now, last, asked] = [0, 0, 0]
      for (const step of steps) {
        now += step
        const verdict = circuit.mayAsk(now)
        assert.notStrictEqual(verdict, true)
        if (verdict === "alone") {
          assert.isAtLeast(now - last, Math.min(8000, 1000 * 2 ** asked))
          ;[last, asked] = [now, asked + 1]
          circuit.failed(now, true)
        } else assert.isBelow(now - last, Math.min(8000, 1000 * 2 ** asked))
      }
    }))
  })
})
