import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { formatHttpDate, parseHttpDate } from "../../src/internal/httpDate.js"
import { assertLinear } from "./hostile.js"

const now = Date.UTC(2026, 5, 1)
const parse = (text: string) => parseHttpDate(text, now)
const printed = (text: string) => {
  const time = parse(text)
  return time === undefined ? undefined : new Date(time).toISOString()
}

describe("parseHttpDate", () => {
  it.each<[what: string, text: string, expected: string | undefined]>([
    ["IMF-fixdate", "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37.000Z"],
    ["RFC 850", "Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37.000Z"],
    ["the longest day of RFC 850", "Wednesday, 09-Nov-94 08:49:37 GMT", "1994-11-09T08:49:37.000Z"],
    ["asctime", "Sun Nov  6 08:49:37 1994", "1994-11-06T08:49:37.000Z"],
    ["asctime, two digits", "Sun Nov 16 08:49:37 1994", "1994-11-16T08:49:37.000Z"],
    ["50 years ahead", "Sunday, 06-Nov-76 08:49:37 GMT", "2076-11-06T08:49:37.000Z"],
    ["more than 50 years ahead", "Sunday, 06-Nov-77 08:49:37 GMT", "1977-11-06T08:49:37.000Z"],
    ["a leap day", "Tue, 29 Feb 2000 00:00:00 GMT", "2000-02-29T00:00:00.000Z"],
    ["a leap second", "Sat, 31 Dec 2016 23:59:60 GMT", "2017-01-01T00:00:00.000Z"],
    ["a year of two digits, as four", "Sun, 06 Nov 0094 08:49:37 GMT", "0094-11-06T08:49:37.000Z"],
    ["no leap day", "Mon, 29 Feb 2100 00:00:00 GMT", undefined],
    ["day 31 of 30", "Mon, 31 Nov 1994 00:00:00 GMT", undefined],
    ["day 0", "Sun, 00 Nov 1994 08:49:37 GMT", undefined],
    ["hour 24", "Sun, 06 Nov 1994 24:00:00 GMT", undefined],
    ["minute 60", "Sun, 06 Nov 1994 08:60:37 GMT", undefined],
    ["second 61", "Sun, 06 Nov 1994 08:49:61 GMT", undefined],
    ["another zone", "Sun, 06 Nov 1994 08:49:37 +0000", undefined],
    ["UTC", "Sun, 06 Nov 1994 08:49:37 UTC", undefined],
    ["another case", "sun, 06 nov 1994 08:49:37 gmt", undefined],
    ["one digit", "Sun, 6 Nov 1994 08:49:37 GMT", undefined],
    ["something after it", "Sun, 06 Nov 1994 08:49:37 GMT; length=1", undefined],
    ["something before it", " Sun, 06 Nov 1994 08:49:37 GMT", undefined],
    ["ISO 8601", "1994-11-06T08:49:37Z", undefined],
    ["seconds", "784111777", undefined],
    ["nothing", "", undefined]
  ])("%s: %j -> %s", (_, text, expected) => {
    assert.strictEqual(printed(text), expected)
  })

  it("a year of two digits, at the turn of a century", () => {
    assert.strictEqual(parseHttpDate("Friday, 01-Jan-99 00:00:00 GMT", Date.UTC(2000, 1)), Date.UTC(1999, 0))
    assert.strictEqual(parseHttpDate("Friday, 01-Jan-01 00:00:00 GMT", Date.UTC(2099, 1)), Date.UTC(2101, 0))
  })

  it.prop("what is formatted is read again", [FastCheck.integer({ min: 0, max: 253402300799 })], ([seconds]) => {
    assert.strictEqual(parse(formatHttpDate(seconds * 1000)), seconds * 1000)
    assert.strictEqual(parse(formatHttpDate(seconds * 1000 + 999)), seconds * 1000)
  })

  it("is linear", () => assertLinear(parse))
})
