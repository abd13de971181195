import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import type { Content, Portable } from "../../src/internal/sessionPayload.js"
import { expiryOf, parse, parsePortable, print, printPortable } from "../../src/internal/sessionPayload.js"

const count = FastCheck.maxSafeNat()
const content: FastCheck.Arbitrary<Content> = FastCheck.record({
  version: count,
  data: FastCheck.jsonValue(),
  flashes: FastCheck.array(FastCheck.record({ kind: FastCheck.string(), text: FastCheck.string() })),
  secret: FastCheck.option(FastCheck.string(), { nil: undefined }),
  epoch: count
}).map((content) => ({ ...content, data: JSON.parse(JSON.stringify(content.data)) as unknown }))
const portable: FastCheck.Arbitrary<Portable> = FastCheck.record({
  content,
  id: FastCheck.string(),
  createdAt: count,
  touchedAt: count,
  principal: FastCheck.option(FastCheck.string(), { nil: undefined })
}).map(({ content, ...rest }) => ({ ...content, ...rest }))

describe("what is kept", () => {
  it("comes back", () => {
    FastCheck.assert(FastCheck.property(content, (content) => assert.deepStrictEqual(parse(print(content)), content)))
    FastCheck.assert(
      FastCheck.property(portable, (content) => assert.deepStrictEqual(parsePortable(printPortable(content)), content))
    )
  })

  it("is one text for one content, with nothing in it that need not be", () => {
    const empty = { version: 1, data: { n: 1 }, flashes: [], secret: undefined, epoch: 0 }
    assert.strictEqual(print(empty), `{"v":1,"d":{"n":1}}`)
    assert.strictEqual(
      printPortable({
        ...empty,
        epoch: 2,
        flashes: [{ kind: "a", text: "b" }],
        secret: "s",
        id: "i",
        createdAt: 1,
        touchedAt: 2,
        principal: "p"
      }),
      `{"i":"i","c":1,"t":2,"p":"p","v":1,"d":{"n":1},"f":[["a","b"]],"s":"s","e":2}`
    )
    FastCheck.assert(
      FastCheck.property(content, (content) => assert.strictEqual(print(parse(print(content))!), print(content)))
    )
  })

  it.each([
    "",
    "null",
    "1",
    "[]",
    "{}",
    "{",
    `{"d":1}`,
    `{"v":"1","d":1}`,
    `{"v":-1,"d":1}`,
    `{"v":1.5,"d":1}`,
    `{"v":1e300,"d":1}`,
    `{"v":1,"e":null}`,
    `{"v":1,"e":-1}`,
    `{"v":1,"f":null}`,
    `{"v":1,"f":{}}`,
    `{"v":1,"f":["a"]}`,
    `{"v":1,"f":[["a"]]}`,
    `{"v":1,"f":[["a","b","c"]]}`,
    `{"v":1,"f":[["a",1]]}`,
    `{"v":1,"s":null}`,
    `{"v":1,"s":1}`
  ])("is not %s", (text) => {
    assert.isUndefined(parse(text))
    assert.isUndefined(parsePortable(text))
  })

  it.each([
    `{"v":1,"d":1}`,
    `{"v":1,"i":1,"c":1,"t":1}`,
    `{"v":1,"i":"i","t":1}`,
    `{"v":1,"i":"i","c":1}`,
    `{"v":1,"i":"i","c":-1,"t":1}`,
    `{"v":1,"i":"i","c":1,"t":"1"}`,
    `{"v":1,"i":"i","c":1,"t":1,"p":null}`,
    `{"v":1,"i":"i","c":1,"t":1,"p":1}`
  ])("nor, in a cookie, %s", (text) => {
    assert.isDefined(parse(text))
    assert.isUndefined(parsePortable(text))
  })

  it("is read without a word of whatever comes", () => {
    FastCheck.assert(FastCheck.property(FastCheck.oneof(FastCheck.string(), FastCheck.json()), (text) => {
      parse(text)
      parsePortable(text)
    }))
  })
})

describe("expiryOf", () => {
  it.each<[createdAt: number, touchedAt: number, expiresAt: number]>([
    [0, 0, 10],
    [0, 15, 25],
    [0, 20, 30],
    [0, 25, 30],
    [5, 25, 35]
  ])(
    "made at %i and used at %i it ends at %i",
    (createdAt, touchedAt, expiresAt) =>
      assert.strictEqual(expiryOf({ idle: 10, absolute: 30 }, { createdAt, touchedAt }), expiresAt)
  )
})
