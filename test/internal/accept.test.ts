import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { type Wanted, wants } from "../../src/internal/accept.js"
import { assertLinear } from "./hostile.js"

const html = (accept: string): readonly [q: number, exactness: number] => {
  const { exactness, q } = wants(accept)("text/html")
  return [q, exactness]
}

describe("wants", () => {
  it.each<[rule: string, accept: string, q: number, exactness: number]>([
    ["by name", "text/html", 1, 3],
    ["by its main type", "text/*", 1, 2],
    ["by any", "*/*", 1, 1],
    ["not at all", "text/plain", 0, 0],
    ["nothing is asked for", "", 0, 0],
    ["case makes no difference", "TEXT/Html;Q=0.5", 0.5, 3],
    ["refused, by name", "text/html;q=0, */*", 0, 3],
    ["refused, by its main type", "text/*;q=0, */*", 0, 2],
    ["the most exact counts, first", "text/html;q=0.2, text/*;q=0.4, */*", 0.2, 3],
    ["the most exact counts, last", "*/*, text/*;q=0.4, text/html;q=0.2", 0.2, 3],
    ["of two that are equal the first", "text/html;q=0.2, text/html;q=0.4", 0.2, 3],
    // parameters
    ["with parameters, all the same", "text/html;level=1", 1, 3],
    ["without parameters before with, last", "text/html;level=1;q=0.1, text/html;q=0.7", 0.7, 3],
    ["without parameters before with, first", "text/html;q=0.7, text/html;level=1;q=0.1", 0.7, 3],
    ["parameters behind the weight", "text/html;q=0.7;a=b, text/html;q=0.2", 0.2, 3],
    ["of two with parameters the first", "text/html;a=b;q=0.3, text/html;a=c", 0.3, 3],
    ["a weight in quotes is none", "text/html;a=\";q=0\"", 1, 3],
    ["nor is one behind an escaped quote", "text/html;a=\"\\\";q=0\";q=0.6", 0.6, 3],
    ["a comma in quotes separates nothing", "text/plain;a=\", text/html\"", 0, 0],
    ["of two weights the first", "text/html;q=0.3;q=0.9", 0.3, 3],
    // weights
    ["three digits", "text/html;q=0.123", 0.123, 3],
    ["a point and no digits", "text/html;q=1.", 1, 3],
    ["zeros", "text/html;q=0.000", 0, 3],
    ["ones and zeros", "text/html;q=1.000", 1, 3],
    ["spaces around it", "text/html \t; \tq \t= \t0.5\t ", 0.5, 3],
    // malformed
    ["four digits", "text/html;q=0.1234", 0, 0],
    ["more than one", "text/html;q=1.001", 0, 0],
    ["two", "text/html;q=2", 0, 0],
    ["less than nothing", "text/html;q=-1", 0, 0],
    ["no number", "text/html;q=NaN", 0, 0],
    ["no end", "text/html;q=Infinity", 0, 0],
    ["an exponent", "text/html;q=1e0", 0, 0],
    ["no zero", "text/html;q=.5", 0, 0],
    ["nothing", "text/html;q=", 0, 0],
    ["quoted", "text/html;q=\"1\"", 0, 0],
    ["a malformed weight, and another range", "text/html;q=x, text/*;q=0.5", 0.5, 2],
    ["half a type", "text", 0, 0],
    ["a type of three", "text/html/x", 0, 0],
    ["an empty half", "text/, /html, /", 0, 0],
    ["a space in it", "te xt/html, text/ht ml", 0, 0],
    ["a wildcard for a main type alone", "*/html", 0, 0],
    ["half a wildcard", "*, text/h*", 0, 0]
  ])("%s: %j", (_, accept, q, exactness) => {
    assert.deepStrictEqual(html(accept), [q, exactness])
  })

  it("other types have their own", () => {
    const wanted = wants("text/*;q=0.5, application/json;q=0.25")
    const of = (type: string): Wanted => wanted(type)
    assert.deepStrictEqual(["text/plain", "application/json", "image/png"].map((type) => of(type).q), [0.5, 0.25, 0])
  })

  it.prop("a weight is from 0 to 1, and goes with an exactness from 0 to 3", [
    FastCheck.oneof(
      FastCheck.string(),
      FastCheck.array(
        FastCheck.constantFrom("text/html", "*/*", "text/*", ";q=", "0.5", "1", ",", ";", " ", "\"", "\\")
      )
        .map((parts) => parts.join(""))
    )
  ], ([accept]) => {
    const [q, exactness] = html(accept)
    assert.isTrue(q >= 0 && q <= 1)
    assert.include([0, 1, 2, 3], exactness)
    assert.isTrue(exactness > 0 || q === 0)
  })

  it.prop("the order of different ranges makes no difference", [
    FastCheck.uniqueArray(FastCheck.constantFrom("text/html", "text/*", "*/*", "text/html;a=b"), { minLength: 1 }),
    FastCheck.array(FastCheck.integer({ min: 0, max: 1000 }), { minLength: 4, maxLength: 4 })
  ], ([ranges, weights]) => {
    const elements = ranges.map((range, i) => `${range};q=${(weights[i]! / 1000).toFixed(3)}`)
    assert.deepStrictEqual(html(elements.join(", ")), html([...elements].reverse().join(",")))
  })

  it("ten thousand ranges are read like one", () => {
    const many = Array.from({ length: 10_000 }, (_, i) => `text/x${i};q=0.${i % 1000}`).join(",")
    assert.deepStrictEqual(html(`${many}, text/html;q=0.5`), [0.5, 3])
  })

  it("reading is linear", () => {
    assertLinear((text) => wants(text)("text/html"))
    assertLinear((text) => wants(`text/html;${text}`)("text/html"))
    assertLinear((text) => wants(`text/html;q${text}`)("text/html"))
  })
})
