import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { entityTags, evaluate, type Fields, isEntityTag, type Validators } from "../../src/internal/preconditions.js"
import { assertLinear } from "./hostile.js"

const now = Date.UTC(2026, 5, 1)
const before = "Sun, 06 Nov 1994 08:49:36 GMT"
const at = "Sun, 06 Nov 1994 08:49:37 GMT"
const after = "Sun, 06 Nov 1994 08:49:38 GMT"
const current: Validators = { etag: `"a"`, lastModified: at }

describe("evaluate", () => {
  describe("the order of RFC 9110 section 13.2.2, of every combination", () => {
    /** As the section has it, step by step. */
    const expected = (
      method: string,
      { ifMatch, ifModifiedSince, ifNoneMatch, ifUnmodifiedSince }: Record<string, boolean | undefined>
    ) => {
      const isRead = method === "GET" || method === "HEAD"
      // 1 and 2
      if (ifMatch === false) return "failed"
      if (ifMatch === undefined && ifUnmodifiedSince === false) return "failed"
      // 3
      if (ifNoneMatch === false) return isRead ? "notModified" : "failed"
      // 4
      if (isRead && ifNoneMatch === undefined && ifModifiedSince === false) return "notModified"
      // 5 is for who answers with ranges, 6
      return "proceed"
    }
    const states = [undefined, true, false]
    for (const method of ["GET", "HEAD", "PUT", "POST", "DELETE"]) {
      it(method, () => {
        for (const ifMatch of states) {
          for (const ifUnmodifiedSince of states) {
            for (const ifNoneMatch of states) {
              for (const ifModifiedSince of states) {
                const headers: Fields = {
                  "if-match": ifMatch === undefined ? undefined : ifMatch ? `"x", "a"` : `"x"`,
                  "if-unmodified-since": ifUnmodifiedSince === undefined ? undefined : ifUnmodifiedSince ? at : before,
                  "if-none-match": ifNoneMatch === undefined ? undefined : ifNoneMatch ? `"x"` : `"x", "a"`,
                  "if-modified-since": ifModifiedSince === undefined ? undefined : ifModifiedSince ? before : at,
                  "if-range": `"y"`
                }
                const conditions = { ifMatch, ifModifiedSince, ifNoneMatch, ifUnmodifiedSince }
                assert.strictEqual(
                  evaluate(method, headers, current, now),
                  expected(method, conditions),
                  JSON.stringify(conditions)
                )
              }
            }
          }
        }
      })
    }
  })

  it.each<[what: string, method: string, headers: Fields, current: Validators | null, verdict: string]>([
    ["If-Match *, of something", "PUT", { "if-match": "*" }, {}, "proceed"],
    ["If-Match *, of nothing", "PUT", { "if-match": "*" }, null, "failed"],
    ["If-Match, of nothing", "PUT", { "if-match": `"a"` }, null, "failed"],
    ["If-Match, without a tag", "PUT", { "if-match": `"a"` }, { lastModified: at }, "failed"],
    ["If-Match, weak in the list", "PUT", { "if-match": `W/"a"` }, { etag: `"a"` }, "failed"],
    ["If-Match, weak now", "PUT", { "if-match": `"a"` }, { etag: `W/"a"` }, "failed"],
    ["If-Match, weak both", "PUT", { "if-match": `W/"a"` }, { etag: `W/"a"` }, "failed"],
    ["If-Match, another case", "PUT", { "if-match": `"A"` }, { etag: `"a"` }, "failed"],
    ["If-Match, empty", "PUT", { "if-match": "" }, { etag: `"a"` }, "failed"],
    ["If-Match, an empty tag", "PUT", { "if-match": `""` }, { etag: `""` }, "proceed"],
    ["If-Match, no tag", "PUT", { "if-match": "a" }, { etag: `"a"` }, "failed"],
    ["If-None-Match *, of something", "PUT", { "if-none-match": "*" }, {}, "failed"],
    ["If-None-Match *, of nothing", "PUT", { "if-none-match": "*" }, null, "proceed"],
    ["If-None-Match *, with blanks", "GET", { "if-none-match": " * " }, {}, "notModified"],
    ["If-None-Match *, in a list", "GET", { "if-none-match": `*, "b"` }, current, "proceed"],
    ["If-None-Match, weak in the list", "GET", { "if-none-match": `W/"a"` }, { etag: `"a"` }, "notModified"],
    ["If-None-Match, weak now", "GET", { "if-none-match": `"a"` }, { etag: `W/"a"` }, "notModified"],
    ["If-None-Match, another case of W", "GET", { "if-none-match": `w/"a"` }, { etag: `"a"` }, "proceed"],
    ["If-None-Match, a comma in a tag", "GET", { "if-none-match": `"x", "a,b"` }, { etag: `"a,b"` }, "notModified"],
    ["If-None-Match, a part of a tag", "GET", { "if-none-match": `"x,"a",y"` }, { etag: `"a"` }, "proceed"],
    ["If-None-Match, after what is none", "GET", { "if-none-match": `x, "a"` }, { etag: `"a"` }, "proceed"],
    ["If-None-Match, empty elements", "GET", { "if-none-match": `,, "b",,"a"` }, { etag: `"a"` }, "notModified"],
    ["If-None-Match, no longer a list", "GET", { "if-none-match": `"a"${" ".repeat(16_384)}` }, current, "proceed"],
    [
      "If-None-Match, and a date that says less",
      "GET",
      { "if-none-match": `"b"`, "if-modified-since": at },
      current,
      "proceed"
    ],
    ["If-Modified-Since, later", "GET", { "if-modified-since": after }, current, "notModified"],
    ["If-Modified-Since, of a write", "POST", { "if-modified-since": after }, current, "proceed"],
    ["If-Modified-Since, no date", "GET", { "if-modified-since": "yesterday" }, current, "proceed"],
    ["If-Modified-Since, not known", "GET", { "if-modified-since": after }, { etag: `"a"` }, "proceed"],
    ["If-Modified-Since, of nothing", "GET", { "if-modified-since": after }, null, "proceed"],
    ["If-Unmodified-Since, later", "PUT", { "if-unmodified-since": after }, current, "proceed"],
    ["If-Unmodified-Since, no date", "PUT", { "if-unmodified-since": "yesterday" }, current, "proceed"],
    ["If-Unmodified-Since, not known", "PUT", { "if-unmodified-since": before }, { etag: `"a"` }, "proceed"],
    ["nothing", "GET", {}, current, "proceed"]
  ])("%s", (_, method, headers, current, verdict) => {
    assert.strictEqual(evaluate(method, headers, current, now), verdict)
  })
})

describe("entityTags", () => {
  const tag = FastCheck.tuple(
    FastCheck.constantFrom("", "W/"),
    FastCheck.string({ unit: FastCheck.constantFrom(..."!#,aW/*\\~ÿ".split("")), maxLength: 6 })
  ).map(([weak, opaque]) => `${weak}"${opaque}"`)
  const separator = FastCheck.constantFrom(",", ", ", "\t,,  ,")

  it.prop("gives back what was joined", [FastCheck.array(tag), separator], ([tags, separator]) => {
    assert.deepStrictEqual(entityTags(tags.join(separator)), tags)
  })

  it.prop(
    "gives nothing but tags",
    [FastCheck.string({ unit: FastCheck.constantFrom(..."\"W/, a\n".split("")) })],
    ([text]) => {
      for (const tag of entityTags(text)) assert.isTrue(isEntityTag(tag), tag)
    }
  )

  it("is linear", () => {
    assertLinear(entityTags)
    assertLinear((text) => entityTags(`"a"${text}`))
    assertLinear((text) => entityTags(`"${text}`))
  })
})
