import { Cookies, Headers, HttpBody, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { FastCheck, Stream } from "effect"
import { ResponseDraft } from "effect-middleware"

const ok = HttpServerResponse.text("ok", { headers: { vary: "accept", "x-own": "1" } })

const webHeaders = (response: HttpServerResponse.HttpServerResponse) => HttpServerResponse.toWeb(response).headers

describe("ResponseDraft", () => {
  it("gives the very response back when nothing was edited", () => {
    const draft = ResponseDraft.open(ok)
    draft.get("vary")
    draft.delete("x-absent")
    draft.setIfAbsent("vary", "never")
    draft.status = 200
    assert.strictEqual(draft.toResponse(), ok)
  })

  it("leaves the original as it was", () => {
    const before = { ...ok.headers }
    const draft = ResponseDraft.open(ok)
    draft.set("x-new", "1")
    draft.delete("x-own")
    draft.status = 418
    draft.setCookie("a", "b")
    draft.setBody(HttpBody.text("other"))
    assert.notStrictEqual(draft.toResponse(), ok)
    assert.deepStrictEqual({ ...ok.headers }, before)
    assert.strictEqual(ok.status, 200)
    assert.isTrue(Cookies.isEmpty(ok.cookies))
  })

  it("knows field names in any case", () => {
    const draft = ResponseDraft.open(ok)
    draft.set("X-New", "1")
    assert.strictEqual(draft.get("x-NEW"), "1")
    assert.isTrue(draft.has("X-Own"))
    draft.delete("X-OWN")
    assert.isFalse(draft.has("x-own"))
    draft.setIfAbsent("X-new", "2")
    draft.setIfAbsent("X-other", "3")
    assert.deepInclude(Object.fromEntries(webHeaders(draft.toResponse())), { "x-new": "1", "x-other": "3" })
  })

  it("appends to a list", () => {
    const draft = ResponseDraft.open(ok)
    draft.append("x-list", "a")
    draft.append("X-List", "b")
    assert.strictEqual(draft.get("x-list"), "a, b")
  })

  it.prop("builds the response that platform's setHeader would", [
    FastCheck.array(FastCheck.tuple(FastCheck.constantFrom("x-a", "x-b", "x-c", "vary"), FastCheck.hexaString()))
  ], ([edits]) => {
    const draft = ResponseDraft.open(ok)
    let response = ok
    for (const [name, value] of edits) {
      draft.set(name, value)
      response = HttpServerResponse.setHeader(response, name, value)
    }
    assert.deepStrictEqual({ ...draft.toResponse().headers }, { ...response.headers })
    assert.deepStrictEqual(draft.toResponse().toString(), response.toString())
  })

  it("builds what platform accepts as its own", () => {
    const draft = ResponseDraft.open(ok)
    draft.set("x-new", "1")
    const response = draft.toResponse()
    assert.isTrue(HttpServerResponse.isServerResponse(response))
    assert.strictEqual(HttpServerResponse.setHeader(response, "x-more", "2").headers["x-new"], "1")
    assert.strictEqual(HttpServerResponse.setStatus(response, 201).status, 201)
    assert.deepStrictEqual(Headers.get(response.headers, "x-new")._tag, "Some")
  })

  describe("lists that merge", () => {
    const draft = () => ResponseDraft.open(ok)
    it("Vary: union, * absorbs", () => {
      const d = draft()
      d.vary("origin", "Accept")
      assert.strictEqual(d.get("vary"), "accept, origin")
      d.vary("*")
      assert.strictEqual(d.get("vary"), "*")
    })
    it("Vary: nothing added makes no field", () => {
      const d = ResponseDraft.open(HttpServerResponse.empty())
      d.vary()
      assert.isFalse(d.has("vary"))
    })
    it("Cache-Control: the stricter stays", () => {
      const d = draft()
      d.cacheControl("public, max-age=60")
      d.cacheControl("max-age=10, private")
      assert.strictEqual(d.get("cache-control"), "max-age=10, private")
    })
    it("WWW-Authenticate: one field for all challenges", () => {
      const d = draft()
      d.challenge(`Bearer realm="a, b"`)
      d.challenge("Basic")
      assert.strictEqual(d.get("www-authenticate"), `Bearer realm="a, b", Basic`)
    })
    it("Server-Timing", () => {
      const d = draft()
      d.serverTiming("db;dur=1")
      d.serverTiming("app;dur=2")
      assert.strictEqual(d.get("server-timing"), "db;dur=1, app;dur=2")
    })
  })

  describe("cookies", () => {
    const cookiesOf = (draft: ResponseDraft.Open) => webHeaders(draft.toResponse()).getSetCookie()

    it("keeps two of one name on different paths or domains", () => {
      const draft = ResponseDraft.open(HttpServerResponse.unsafeSetCookie(ok, "sid", "handler", { path: "/" }))
      draft.setCookie("sid", "", { path: "/old" })
      draft.setCookie("sid", "sub", { path: "/", domain: "example.com" })
      assert.deepStrictEqual(cookiesOf(draft), [
        "sid=handler; Path=/",
        "sid=; Path=/old",
        "sid=sub; Domain=example.com; Path=/"
      ])
    })

    it("replaces all of them, and a field that was set as text", () => {
      const response = HttpServerResponse.setHeader(
        HttpServerResponse.unsafeSetCookie(ok, "a", "1"),
        "set-cookie",
        "b=2"
      )
      const draft = ResponseDraft.open(response)
      draft.replaceCookies(Cookies.fromIterable([Cookies.unsafeMakeCookie("c", "3")]))
      draft.setCookie("d", "4")
      assert.deepStrictEqual(cookiesOf(draft), ["c=3", "d=4"])
      assert.isFalse(draft.has("set-cookie"))
      assert.deepStrictEqual(Object.keys(response.cookies.cookies), ["a"])
    })

    it("replaces one of the same name, domain and path", () => {
      const draft = ResponseDraft.open(ok)
      draft.setCookie("sid", "1", { path: "/", domain: "Example.com" })
      draft.setCookie("sid", "2", { path: "/old" })
      draft.setCookie("sid", "3", { path: "/", domain: "example.com" })
      draft.setCookie("sid", "4", { path: "/old" })
      assert.deepStrictEqual(cookiesOf(draft), ["sid=3; Domain=example.com; Path=/", "sid=4; Path=/old"])
    })

    it.each(
      [
        ["name", ["s id", "1"]],
        ["path", ["sid", "1", { path: "/; Domain=evil.test" }]],
        ["domain", ["sid", "1", { domain: "evil.test; Path=/" }]]
      ] as const
    )("throws on a %s that would add an attribute", (_, args) => {
      assert.throws(
        () => ResponseDraft.open(ok).setCookie(...(args as readonly [string, string])),
        /CookiesError|Invalid/
      )
    })
  })

  describe("the body", () => {
    it("brings its type and length", () => {
      const draft = ResponseDraft.open(ok)
      draft.setBody(HttpBody.text("longer", "text/html"))
      assert.deepInclude({ ...draft.toResponse().headers }, { "content-type": "text/html", "content-length": "6" })
      assert.strictEqual(draft.body, draft.toResponse().body)
    })

    it("leaves no stale length", () => {
      const draft = ResponseDraft.open(ok)
      draft.setBody(HttpBody.stream(Stream.make(new Uint8Array(3)), "text/plain"))
      assert.isUndefined(draft.toResponse().headers["content-length"])
    })
  })

  it("replaces the whole, and later edits apply to the new one", () => {
    const draft = ResponseDraft.open(ok)
    draft.set("x-lost", "1")
    draft.setCookie("lost", "1")
    draft.replace(HttpServerResponse.empty({ status: 503 }))
    draft.set("x-kept", "1")
    const { cookies, headers, status } = draft.toResponse()
    assert.deepStrictEqual([status, { ...headers }, Cookies.isEmpty(cookies)], [503, { "x-kept": "1" }, true])
  })

  describe("setDefaults", () => {
    const fields = { "x-a": "default", "x-b": "default" }

    it("sets what is not set, whether before or by an edit", () => {
      const draft = ResponseDraft.open(HttpServerResponse.setHeader(ok, "x-a", "own"))
      draft.setDefaults(fields)
      draft.set("x-b", "later")
      draft.setDefaults(fields)
      draft.delete("x-a")
      const { headers } = draft.toResponse()
      assert.deepStrictEqual([headers["x-a"], headers["x-b"]], [undefined, "later"])
      assert.deepStrictEqual(fields, { "x-a": "default", "x-b": "default" })
      assert.isUndefined(ok.headers["x-b"])
    })

    it.each([{ "X-A": "1" }, { "x a": "1" }, { "x-a": "1\r\nx-b: 2" }, { "x-a": "\u0100" }])(
      "throws on %j",
      (fields) => {
        const draft = ResponseDraft.open(ok)
        for (let i = 0; i < 2; i++) assert.throws(() => draft.setDefaults(fields), TypeError, "cannot be sent")
        assert.strictEqual(draft.toResponse(), ok)
      }
    )
  })

  describe("mistake", () => {
    const wrong = HttpServerResponse.setHeader(ok, "x-a", "a\nb")

    it("is what the handler has made, whatever edits have set beside", () => {
      const draft = ResponseDraft.open(wrong)
      draft.set("x-b", "1")
      draft.setDefaults({ "x-c": "1" })
      assert.match(draft.mistake() ?? "", /a field "x-a" that cannot be sent/)
    })

    it("is gone where an edit has mended it", () => {
      for (
        const edit of [
          (draft: ResponseDraft.Open) => draft.set("x-a", "ab"),
          (draft: ResponseDraft.Open) => draft.delete("x-a"),
          (draft: ResponseDraft.Open) => draft.replace(ok)
        ]
      ) {
        const draft = ResponseDraft.open(wrong)
        edit(draft)
        assert.isUndefined(draft.mistake())
      }
    })

    it("is what has come by a replacement, or with a body", () => {
      const draft = ResponseDraft.open(ok)
      draft.set("x-b", "1")
      draft.replace(wrong)
      assert.match(draft.mistake() ?? "", /"x-a"/)
      const other = ResponseDraft.open(ok)
      other.setBody(HttpBody.text("x", "text/plain\n"))
      assert.match(other.mistake() ?? "", /"content-type"/)
    })
  })

  describe("what cannot be sent throws", () => {
    it.each([["a\nb"], ["a\r"], ["\u0000"], ["\u007f"], ["\u0100"], ["\u001b[31m"]])("the value %j", (value) => {
      assert.throws(() => ResponseDraft.open(ok).set("x-a", value), "the value for x-a cannot be sent")
    })
    it.each([[""], ["x a"], ["x:a"], ["é"], ["a\n"]])("the name %j", (name) => {
      assert.throws(() => ResponseDraft.open(ok).set(name, "a"), "is not a field name")
    })
    it.each([99, 101, 199, 600, 1000, 200.5, NaN])("the status %d", (status) => {
      const draft = ResponseDraft.open(ok)
      assert.throws(() => (draft.status = status), `status ${status} cannot be sent; use 200 to 599`)
      assert.strictEqual(draft.status, 200)
    })
    it("and what can be sent does not", () => {
      const draft = ResponseDraft.open(ok)
      draft.set("X-!#$%&'*+.^_`|~0", "tab\tand \u00ff")
      for (const status of [200, 304, 599]) draft.status = status
      assert.strictEqual(draft.get("x-!#$%&'*+.^_`|~0"), "tab\tand \u00ff")
    })
  })

  it("falls back to a bare response, with the edits that do not describe the content", () => {
    const draft = ResponseDraft.open(
      HttpServerResponse.unsafeSetCookie(
        HttpServerResponse.text("secret", { headers: { "x-handler": "1", "cache-control": "public" } }),
        "handler",
        "1"
      )
    )
    draft.set("x-edit", "1")
    draft.set("etag", "1")
    draft.set("content-encoding", "gzip")
    draft.cacheControl("max-age=10")
    draft.setCookie("edit", "1")
    draft.fallBack(HttpServerResponse.empty({ status: 500 }))
    const response = draft.toResponse()
    assert.deepStrictEqual([response.status, { ...response.headers }], [500, { "x-edit": "1" }])
    assert.deepStrictEqual(webHeaders(response).getSetCookie(), ["edit=1"])
  })

  it("remembers a refusal, and hands it over once", () => {
    const draft = ResponseDraft.open(ok)
    const error = new Error("unsaved")
    draft.refuse(error)
    assert.strictEqual(draft.refusal, error)
    assert.strictEqual(draft.takeRefusal(), error)
    assert.isUndefined(draft.takeRefusal())
    assert.strictEqual(draft.refusal, error)
  })

  it("forgets the phrase of a status that it changes", () => {
    const draft = ResponseDraft.open(HttpServerResponse.empty({ status: 200, statusText: "Fine" }))
    draft.set("x", "1")
    assert.strictEqual(draft.toResponse().statusText, "Fine")
    draft.status = 404
    assert.isUndefined(draft.toResponse().statusText)
  })

  for (const status of [204, 205, 304]) {
    it(`sends no content with ${status}`, () => {
      for (const body of [HttpBody.text("x"), HttpBody.stream(Stream.make(new Uint8Array(1)))]) {
        const draft = ResponseDraft.open(HttpServerResponse.setBody(HttpServerResponse.empty({ status }), body))
        const sent = HttpServerResponse.toWeb(draft.toResponse())
        assert.deepStrictEqual([sent.status, sent.body, sent.headers.get("content-length")], [status, null, null])
      }
      const empty = HttpServerResponse.empty({ status, headers: { etag: "\"1\"" } })
      assert.strictEqual(ResponseDraft.open(empty).toResponse(), empty)
    })
  }
})
