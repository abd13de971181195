import { HttpServerRequest } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { hasContent, isJson, mediaTypeOf } from "../../src/internal/content.js"
import { assertLinear } from "./hostile.js"

const web = (init: RequestInit = {}) => HttpServerRequest.fromWeb(new Request("http://localhost/", init))
const post = (body: BodyInit | null, headers: Record<string, string> = {}) => web({ method: "POST", body, headers })

describe("hasContent", () => {
  it.each<[rule: string, request: HttpServerRequest.HttpServerRequest, expected: boolean]>([
    ["nothing says so", web(), false],
    ["a length", web({ headers: { "content-length": "1" } }), true],
    ["a length of zero", web({ headers: { "content-length": "0" } }), false],
    ["a length of zeros", web({ headers: { "content-length": "000" } }), false],
    ["a length that begins with zero", web({ headers: { "content-length": "01" } }), true],
    ["a length that is none", web({ headers: { "content-length": "" } }), true],
    ["chunks", web({ headers: { "transfer-encoding": "chunked" } }), true],
    ["chunks, whatever the length", web({ headers: { "transfer-encoding": "chunked", "content-length": "0" } }), true],
    ["a web request by its body", post("a"), true],
    ["a web request without one", post(null), false],
    ["the length counts before the body", post("a", { "content-length": "0" }), false]
  ])("%s", (_, request, expected) => {
    assert.strictEqual(hasContent(request), expected)
  })

  it("of what is no web request the fields alone tell", () => {
    const request = web()
    assert.isFalse(hasContent({ headers: request.headers, source: { body: "a" } } as never))
  })
})

describe("mediaTypeOf", () => {
  it.each([
    ["text/plain", "text/plain"],
    ["Text/PLAIN", "text/plain"],
    [" \ttext/plain\t ;charset=utf-8", "text/plain"],
    ["text/plain;a=b;c=d", "text/plain"],
    [";text/plain", ""],
    ["", ""],
    ["text/plain\u00a0", "text/plain\u00a0"]
  ])("%j is %j", (value, type) => {
    assert.strictEqual(mediaTypeOf(value), type)
  })

  it.prop("parameters and case make no difference", [
    FastCheck.stringMatching(/^[a-zA-Z/+.]{0,20}$/),
    FastCheck.string()
  ], ([type, parameters]) => {
    assert.strictEqual(mediaTypeOf(`${type} ;${parameters}`), type.toLowerCase())
  })

  it("reading is linear", () => assertLinear(mediaTypeOf))
})

describe("isJson", () => {
  it.each([
    ["application/json", true],
    ["application/problem+json", true],
    ["application/vnd.a.b+c+json", true],
    ["application/+json", false],
    ["application/jsonx", false],
    ["xapplication/json", false],
    ["text/json", false],
    ["application/x/y+json", false],
    ["application/x y+json", false],
    ["", false]
  ])("%j: %s", (type, expected) => {
    assert.strictEqual(isJson(type), expected)
  })

  it("reading is linear", () => assertLinear((text) => isJson(`application/${text}`)))
})
