import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { contentSecurityPolicy, toHtml } from "../../src/internal/debugHtml.js"
import { toText } from "../../src/internal/debugText.js"
import type { ErrorNode, Snapshot } from "../../src/internal/snapshot.js"
import { bare, deep, error, everywhere, frame, rich, simple } from "./snapshots.js"

const nonce = "bm9uY2U"

/** The page without its own style and script, which come before and after all that is shown. */
const body = (snapshot: Snapshot): string =>
  toHtml(snapshot, nonce).replace(/<style nonce="bm9uY2U">[^<]*<\/style>/, "").replace(
    /<script nonce="bm9uY2U">(?:(?!<\/script>)[^])*<\/script>\n<\/body>/,
    "</body>"
  )

const elements =
  "html|head|meta|title|link|body|a|header|div|p|b|i|span|button|h[1-6]|code|dl|dt|dd|time|nav|ul|ol|li|main|" +
  "section|table|caption|tbody|thead|tr|th|td|pre|details|summary|mark|strong|svg|rect|textarea"
const attributes =
  "lang|charset|name|content|rel|href|id|class|role|type|hidden|datetime|aria-[a-z]+|scope|tabindex|open|" +
  "data-line|width|height|x|rx|rows|readonly|wrap"
const tag = new RegExp(
  `<!doctype html>|</(?:${elements})>|<(?:${elements})(?: (?:${attributes})(?:="[^"<>]*")?)*/?>`,
  "g"
)

const hostile = FastCheck.oneof(
  FastCheck.string({ unit: "binary" }),
  FastCheck.array(
    FastCheck.constantFrom(
      "<script>window.pwned=1</script>",
      "\"><img src=x onerror=window.pwned=1>",
      "</textarea>",
      "</style>",
      "<!--",
      "]]>",
      "javascript:",
      "'",
      "\"",
      "`",
      "&lt;",
      "&#60;",
      "<",
      ">",
      "/*",
      "//",
      "\\",
      "const",
      "\n",
      "${0}",
      "$&",
      "\0",
      "x"
    ),
    { maxLength: 12 }
  ).map((parts) => parts.join("")),
  FastCheck.constant("<b>".repeat(500))
)

const unescape = (text: string): string =>
  text.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)))

const links = (link: string): ReadonlyArray<string> => {
  const one = frame("src/a.ts", 1, { link })
  const html = toHtml({ ...bare, cause: { kind: "die", error: error("E", "", { frames: [one] }) } }, nonce)
  return [...html.matchAll(/<a class="edit" href="([^"]*)"/g)].map(([, href = ""]) => unescape(href))
}

describe("toHtml", () => {
  it("no value is markup, wherever it stands", () => {
    FastCheck.assert(
      FastCheck.property(hostile, (text) => {
        const rest = body(everywhere(text)).replace(tag, "")
        assert.isFalse(/[<>]/.test(rest), rest)
      })
    )
  })

  it("every value is shown", () => {
    const text = "<i>\"one's & `all`\"</i>"
    const escaped = "&#60;i&#62;&#34;one&#39;s &#38; &#96;all&#96;&#34;&#60;/i&#62;"
    const count = (whole: string, part: string) => whole.split(part).length - 1
    // in the markup beside the text: 2 of them are names for the boxes of source
    assert.isAbove(count(body(everywhere(text)), escaped), count(toText(everywhere(text)), text))
    assert.strictEqual(count(toHtml(everywhere(text), nonce), text), 0)
  })

  it("holds the text form", () => {
    for (const snapshot of [simple, rich, bare, everywhere("\n</textarea>\r\n")]) {
      const [, text = ""] = /<textarea[^>]*>\n([^<]*)<\/textarea>/.exec(toHtml(snapshot, nonce)) ?? []
      assert.strictEqual(unescape(text), toText(snapshot))
    }
  })

  it("needs nothing that its policy refuses", () => {
    assert.strictEqual(
      contentSecurityPolicy(nonce),
      "default-src 'none'; script-src 'nonce-bm9uY2U'; style-src 'nonce-bm9uY2U'; img-src data:; base-uri 'none'; " +
        "form-action 'none'; frame-ancestors 'none'"
    )
    const html = toHtml(rich, nonce)
    assert.isFalse(/ (?:style|on[a-z]+|src|srcset|action)=|innerHTML|url\(|@import/.test(html))
    assert.deepStrictEqual(
      html.match(/<(?:script|style)[^>]*>/g),
      ["style", "script"].map((name) => `<${name} nonce="${nonce}">`)
    )
    assert.deepStrictEqual([...html.matchAll(/ href="(?!#)([^"]*)"/g)].map(([, href]) => href), [
      "data:,",
      "vscode://file/srv/notes/src/notes/routes.ts:31:24"
    ])
  })

  for (
    const link of [
      "vscode://file/srv/a b.ts:1:2",
      "idea://open?file=a&line=1",
      "http://localhost:63342/api/file?file=a",
      "x-editor+1.0:a\"b"
    ]
  ) it(`links to ${link}`, () => assert.deepStrictEqual(links(link), [link]))

  for (
    const link of [
      "javascript:alert(1)",
      "JavaScript:alert(1)",
      " javascript:alert(1)",
      "\u0001javascript:alert(1)",
      "java\nscript:alert(1)",
      "java\tscript:alert(1)",
      "data:text/html,x",
      "DATA:,x",
      "vbscript:x",
      "//elsewhere.example/",
      "/srv/a.ts",
      "1:x",
      ""
    ]
  ) it(`does not link to ${JSON.stringify(link)}`, () => assert.deepStrictEqual(links(link), []))

  it("opens the first three frames of one's own that have a source", () => {
    const source = { from: 1, lines: ["a"] }
    const frames = [
      frame("none.ts", 1),
      frame("node_modules/a/a.ts", 1, { source }),
      ...["a", "b", "c", "d"].map((name) => frame(`${name}.ts`, 1, { source }))
    ]
    const html = toHtml({ ...bare, cause: { kind: "die", error: error("E", "", { frames }) } }, nonce)
    assert.deepStrictEqual(
      [...html.matchAll(/<details( open)?><summary>(?:<span[^>]*>)?([^<]*)/g)].map(([, open, name]) =>
        `${name}${open ?? ""}`
      ),
      ["1 frame of a", "node_modules/a/a.ts:1:1", "a.ts:1:1 open", "b.ts:1:1 open", "c.ts:1:1 open", "d.ts:1:1"]
    )
  })

  it("marks the line and the word, and colours the rest", () => {
    const lines = [
      "const a = 'it\\'s' // \"b\"",
      "  return b.c(\"x\") /* y */ + \"\\\\\" + 'z",
      "/* all of it",
      "\"open"
    ]
    const one = frame("a.ts", 8, { column: 12, source: { from: 7, lines } })
    const html = toHtml({ ...bare, cause: { kind: "die", error: error("E", "", { frames: [one] }) } }, nonce)
    assert.deepStrictEqual(
      unescape(/<code>(<span.*?)<\/code>/s.exec(html)?.[1] ?? "").split(/(?<=<\/span>|<\/mark>)/),
      [
        `<span class="line" data-line="7"><i class="keyword">const</i> a = <i class="string">'it\\'s'</i> <i class="comment">// "b"</i></span>`,
        `<mark class="line" data-line="8">  <i class="keyword">return</i> b.<b class="here">c</b>(<i class="string">"x"</i>) ` +
        `<i class="comment">/* y */</i> + <i class="string">"\\\\"</i> + <i class="string">'z</i></mark>`,
        `<span class="line" data-line="9"><i class="comment">/* all of it</i></span>`,
        `<span class="line" data-line="10"><i class="string">"open</i></span>`
      ]
    )
  })

  // what is quadratic somewhere takes longer than a test may
  it("takes linear time for a text of any length", () => {
    for (const part of ["/*", "\"", "'\\", "//", "/", " ", "x", "const ", "node_modules/", "request.id\n"]) {
      const text = part.repeat(100_000 / part.length)
      const frames = [frame(text, 1, { source: { from: 1, lines: [text] }, link: text })]
      toHtml({ ...bare, title: text, cause: { kind: "die", error: error("E", text, { frames }) } }, nonce)
    }
  })

  it("is in proportion to what it shows", () => {
    assert.isBelow(toHtml(simple, nonce).length, 40_000)
    assert.isBelow(toHtml(deep, nonce).length, 1_000_000)
  })
})

describe("the header", () => {
  const h1 = (snapshot: Partial<Snapshot>) =>
    unescape(/<h1>(.*?)<\/h1>/s.exec(toHtml({ ...bare, ...snapshot }, nonce))?.[1] ?? "")
  const cause = (...messages: ReadonlyArray<string>): Snapshot["cause"] => ({
    kind: "parallel",
    causes: messages.map((message) => ({ kind: "fail", error: error("E", message) }))
  })

  for (
    const [name, snapshot, expected] of [
      [
        "the error of the title",
        { title: "E: b", cause: cause("a", "b") },
        `<span class="name">E</span> <span class="message">b</span>`
      ],
      ["the title, if none is", { title: "E: c", cause: cause("a") }, `<span class="message">E: c</span>`],
      [
        "an error without a message",
        { title: "E", cause: cause("") },
        `<span class="name">E</span> <span class="message">E</span>`
      ],
      [
        "the first of many lines",
        { title: "E: a b", cause: cause("a\nb") },
        `<span class="name">E</span> <span class="message">a</span>`
      ]
    ] as ReadonlyArray<[string, Partial<Snapshot>, string]>
  ) it(name, () => assert.strictEqual(h1(snapshot), expected))

  it("has the rest of a message below, and all of a long one", () => {
    const below = (message: string) =>
      /<pre class="long" tabindex="0" role="group" aria-label="Message">([^<]*)<\/pre>/.exec(
        toHtml({ ...bare, title: `E: ${message.split("\n")[0]}`, cause: cause(message) }, nonce)
      )?.[1]
    assert.strictEqual(below("a"), undefined)
    assert.strictEqual(below("a\nb\nc"), "b\nc")
    assert.strictEqual(below("x".repeat(300)), undefined)
    assert.strictEqual(below("x".repeat(301)), "x".repeat(301))
  })

  it("counts the errors, where there are more", () => {
    assert.include(toHtml(rich, nonce), "One of 3 errors")
    assert.notInclude(toHtml(simple, nonce), "errors:")
  })
})

describe("spans", () => {
  it("are drawn where they were", () => {
    const rects = [...toHtml(simple, nonce).matchAll(/<rect class="fill-(\w+)" x="([^"]*)" width="([^"]*)"/g)]
    assert.deepStrictEqual(rects.map(([, ...all]) => all.join(" ")), [
      "open 0% 100%",
      "ok 4.84% 16.94%",
      "ok 23.39% 58.47%",
      "ok 26.61% 51.61%",
      "interrupted 27.42% 41.13%",
      "failed 83.87% 13.71%"
    ])
  })

  it("are seen, however short and late", () => {
    const span = { name: "", depth: 40, start: 10, took: 0, status: "ok", attributes: [] } as const
    const html = toHtml({ ...bare, took: 10, spans: [span] }, nonce)
    assert.include(html, `x="99.5%" width="0.5%"`)
    assert.include(html, `class="title depth-12"`)
  })
})

describe("what is long or deep", () => {
  it("a text of more than 1000 characters gets a box", () => {
    const value = (text: string) => /<td>(.*?)<\/td>/.exec(toHtml({ ...bare, environment: [["a", text]] }, nonce))?.[1]
    assert.strictEqual(value("x".repeat(1000)), `<p class="prose">${"x".repeat(1000)}</p>`)
    assert.strictEqual(
      value("x".repeat(1001)),
      `<pre class="long" tabindex="0" role="group" aria-label="a">${"x".repeat(1001)}</pre>`
    )
  })

  it("a title is cut", () => {
    const title = (length: number) =>
      /<title>(.*)<\/title>/.exec(toHtml({ ...bare, title: "x".repeat(length) }, nonce))?.[1]
    assert.strictEqual(title(120), `500 ${"x".repeat(120)}`)
    assert.strictEqual(title(121), `500 ${"x".repeat(120)}…`)
  })

  it("no heading goes deeper than the sixth", () => {
    const nested = (depth: number): ErrorNode =>
      error(`E${depth}`, "", { causes: depth === 6 ? [] : [nested(depth + 1)] })
    const html = toHtml({ ...bare, cause: { kind: "fail", error: nested(1) } }, nonce)
    assert.deepStrictEqual(
      [...html.matchAll(/<(h\d)><span class="kind">([^<]*)<\/span> (E\d)/g)].map(([, ...all]) => all.join(" ")),
      [
        "h3 Failure E1",
        "h4 Caused by E2",
        "h5 Caused by E3",
        "h6 Caused by E4",
        "h6 Caused by E5",
        "h6 Caused by E6"
      ]
    )
  })

  it("no layer is drawn deeper than the twelfth", () => {
    const classes = [...toHtml(deep, nonce).matchAll(/<ol class="(onion[^"]*)"/g)].map(([, name]) => name)
    assert.strictEqual(classes.length, 40)
    assert.deepStrictEqual([classes.indexOf("onion flat"), classes.lastIndexOf("onion")], [13, 12])
  })
})

describe("logs", () => {
  for (
    const [level, loud] of [["ERROR", true], ["FATAL", true], ["error", true], ["WARN", false], [
      "INFO",
      false
    ]] as const
  ) {
    it(`${level} ${loud ? "stands out" : "does not stand out"}`, () => {
      const log = { level, message: "m", at: 1, annotations: [["a", "x".repeat(1001)]], cause: undefined } as const
      const html = toHtml({ ...bare, logs: [log] }, nonce)
      assert.strictEqual(html.includes(`<td class="loud">${level}</td>`), loud)
      assert.include(html, `<span>a=${"x".repeat(1000)}…</span>`)
    })
  }
})
