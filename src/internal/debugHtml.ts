/**
 * The debug page for browsers: one document that asks for nothing else, reads without JavaScript, and takes all that is
 * in the snapshot for text.
 */

import { duration, folded, libraries, pointed, position, requestId, timeline, toText, visible } from "./debugText.js"
import { phrases } from "./phrases.js"
import type { CauseNode, ErrorNode, Frame, Layer, LogRow, Pair, Snapshot, Source, SpanRow } from "./snapshot.js"

/** The policy that the page is to be served with. */
export const contentSecurityPolicy = (nonce: string): string =>
  [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    // the empty icon, or browsers ask for /favicon.ico
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'"
  ].join("; ")

export const toHtml = (snapshot: Snapshot, nonce: string): string => {
  const sections = sectionsOf(snapshot)
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>${snapshot.status} ${cut(snapshot.title, 120)}</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">${new Html(css)}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the failure</a>
${header(snapshot)}
<div class="columns">
<nav aria-label="Sections"><ul>${
    sections.map(({ count, id, title }) => html`<li><a href="#${id}">${title}</a>${size(count)}</li>`)
  }</ul></nav>
<main id="main" tabindex="-1">${
    sections.map(({ body, count, id, title }) =>
      html`
<section id="${id}">
<h2>${title}${size(count)}</h2>
${body}
</section>`
    )
  }
</main>
</div>
<script nonce="${nonce}">${new Html(script)}</script>
</body>
</html>
`.text
}

// --- markup ----------------------------------------------------------------------------------------------------------

/** Markup. Only `html` makes it of a value, and escapes it; what is written here is the rest. */
class Html {
  constructor(readonly text: string) {}
}

/** `false` and what is not there are nothing, so that a part can be left out by `&&` and `?.`. */
type Value = string | number | false | undefined | Html | ReadonlyArray<Html>

const html = (parts: TemplateStringsArray, ...values: ReadonlyArray<Value>): Html =>
  new Html(String.raw({ raw: parts }, ...values.map(markup)))

const markup = (value: Value): string => {
  if (value === undefined || value === false) return ""
  if (value instanceof Html) return value.text
  return typeof value === "object" ? value.map(markup).join("") : escape(`${value}`)
}

const escape = (text: string): string => visible(text).replace(/[&<>"'`]/g, (char) => `&#${char.charCodeAt(0)};`)

const cut = (text: string, length: number): string => text.length > length ? `${text.slice(0, length)}…` : text

/** A box that scrolls can be reached by keyboard. */
const box = (name: string, label: string, body: Value): Html =>
  html`<pre class="${name}" tabindex="0" role="group" aria-label="${label}">${body}</pre>`

/** Text of any length: what is long gets a box. */
const prose = (label: string, text: string): Html =>
  text.length > 1000 ? box("long", label, text) : html`<p class="prose">${text}</p>`

const table = (label: string, pairs: ReadonlyArray<Pair>): Html =>
  html`<table class="pairs"><caption class="unseen">${label}</caption><tbody>${
    pairs.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${prose(name, value)}</td></tr>`)
  }</tbody></table>`

const note = (text: string): Html => html`<p class="none">${text}</p>`

const orNone = <A>(all: ReadonlyArray<A>, body: (all: ReadonlyArray<A>) => Html): Html =>
  all.length === 0 ? note("None") : body(all)

const size = (count: number | undefined): Value => count !== undefined && html` <span class="count">${count}</span>`

// --- the parts of the page -------------------------------------------------------------------------------------------

const header = (snapshot: Snapshot): Html => {
  const { at, cause, request, status, title, took } = snapshot
  const errors = errorsOf(cause)
  const error = errors.find(({ message, name }) =>
    title === name || title.startsWith(`${name}: ${message.trimStart().slice(0, 20).split("\n")[0]}`)
  )
  const message = error?.message.trim() || title
  const [first = "", ...rest] = message.split("\n")
  const more = first.length > 300 ? message : rest.join("\n")
  const facts: ReadonlyArray<readonly [string, Html | string | undefined]> = [
    ["Route", request.route],
    ["Request id", requestId(snapshot)],
    ["From", request.remoteAddress],
    ["Failed", html`<time datetime="${at}">${at}</time>`],
    ["After", duration(took)]
  ]
  return html`<header><div>
<div class="bar"><p class="status"><b>${status}</b> ${phrases[status]}</p>
<div><span id="said" role="status"></span> <button id="copy" type="button" hidden>Copy as text</button></div></div>
<h1>${error && html`<span class="name">${error.name}</span> `}<span class="message">${cut(first, 300)}</span></h1>
${more !== "" && box("long", "Message", more)}
${errors.length > 1 && html`<p class="others">One of ${errors.length} errors: <a href="#failure">see all</a></p>`}
<p class="target"><b>${request.method}</b> <code>${request.target}</code></p>
<dl>${facts.map(([name, value]) => html`${value && html`<div><dt>${name}</dt><dd>${value}</dd></div>`}`)}</dl>
</div></header>`
}

const errorsOf = (node: CauseNode): ReadonlyArray<ErrorNode> => {
  if ("causes" in node) return node.causes.flatMap(errorsOf)
  return "error" in node ? [node.error] : []
}

interface Section {
  readonly id: string
  readonly title: string
  readonly count?: number
  readonly body: Html
}

const sectionsOf = (snapshot: Snapshot): ReadonlyArray<Section> => {
  const { cause, environment, logs, onion, request, services, spans } = snapshot
  const part = (title: string, pairs: ReadonlyArray<Pair>) =>
    html`<h3>${title}${size(pairs.length)}</h3>${orNone(pairs, (pairs) => table(title, pairs))}`
  return [
    { id: "failure", title: "Failure", body: html`${unfold}${causeNode(cause)}` },
    { id: "middleware", title: "Middleware", count: onion.length, body: orNone(onion, layers) },
    { id: "spans", title: "Spans", count: spans.length, body: orNone(spans, () => waterfall(snapshot)) },
    { id: "logs", title: "Logs", count: logs.length, body: orNone(logs, logTable) },
    {
      id: "request",
      title: "Request",
      body: html`${part("Headers", request.headers)}${part("Query", request.query)}${part("Cookies", request.cookies)}
<h3>Body</h3>${request.body.note !== undefined && note(request.body.note)}${
        request.body.text !== undefined && box("long", "Body", request.body.text)
      }`
    },
    {
      id: "services",
      title: "Services",
      count: services.length,
      body: orNone(services.map(({ key, value }): Pair => [key, value]), (pairs) => table("Services", pairs))
    },
    {
      id: "environment",
      title: "Environment",
      body: orNone(environment, (pairs) => table("Environment", pairs))
    },
    {
      id: "text",
      title: "As text",
      body: html`<p>All of this page, for an issue report. Secrets are found by name: read it before you publish it.</p>
<details id="all"><summary>Show the text</summary>
<textarea id="copied" aria-label="The page as text" rows="24" readonly wrap="off">
${toText(snapshot)}</textarea></details>`
    }
  ]
}

const unfold = html`<button id="unfold" type="button" aria-pressed="false" hidden>Unfold all</button>`

// --- the failure -----------------------------------------------------------------------------------------------------

const causeNode = (node: CauseNode): Html => {
  switch (node.kind) {
    case "empty":
      return note("The cause is empty: nothing is known of the failure.")
    case "interrupt":
      return html`<div class="error"><h3><span class="kind">Interruption</span> by ${node.by}</h3></div>`
    case "fail":
      return errorNode(3, "Failure", node.error)
    case "die":
      return errorNode(3, "Defect", node.error)
    case "parallel":
      return html`<p class="label">In parallel</p>
<ul class="tree">${node.causes.map((cause) => html`<li>${causeNode(cause)}</li>`)}</ul>`
    case "sequential":
      return html`<p class="label">In sequence</p>
<ol class="tree">${
        node.causes.map((cause, i) => html`<li>${i > 0 && html`<p class="label">then</p>`}${causeNode(cause)}</li>`)
      }</ol>`
  }
}

const errorNode = (level: number, kind: string, error: ErrorNode): Html => {
  const { causes, fields, frames, message, name, spans } = error
  // no heading goes deeper than the sixth
  const heading = new Html(`h${Math.min(level, 6)}`)
  return html`<div class="error">
<${heading}><span class="kind">${kind}</span> ${name}</${heading}>
${message !== "" && prose(`Message of ${name}`, message)}
${fields.length > 0 && table(`Fields of ${name}`, fields)}
${
    spans.length > 0 &&
    html`<p class="inside">inside ${spans.map((name, i) => html`${i > 0 && ", in "}<code>${name}</code>`)}</p>`
  }
${frames.length > 0 && frameList(frames)}
${
    causes.length > 0 &&
    html`<ul class="tree">${causes.map((cause) => html`<li>${errorNode(level + 1, "Caused by", cause)}</li>`)}</ul>`
  }
</div>`
}

/** The first frames of one's own are open: further ones say less. */
const opened = 3

const frameList = (frames: ReadonlyArray<Frame>): Html => {
  const first = frames.filter(({ own, source }) => own && source !== undefined).slice(0, opened)
  return html`<ol class="frames">${
    folded(frames).map((part) =>
      "own" in part
        ? html`<li class="own">${frameNode(part, first.includes(part))}</li>`
        : html`<li><details><summary>${libraries(part)}</summary><ol>${
          part.map((frame) => html`<li>${frameNode(frame, false)}</li>`)
        }</ol></details></li>`
    )
  }</ol>`
}

const frameNode = (frame: Frame, open: boolean): Html => {
  const { file, function: name, line, link, source } = frame
  const where = html`${name !== undefined && html`<b>${name}</b> `}<span class="at">${position(frame)}</span>`
  const edit = link !== undefined && isSafe(link) &&
    html`<a class="edit" href="${link}">Open<span class="unseen"> ${file}:${line}</span> in editor</a>`
  if (source === undefined) return html`<p>${where}</p>${edit}`
  const code = box("source", `Source of ${file}, around line ${line}`, sourceLines(frame, source))
  return html`<details${open && html` open`}><summary>${where}</summary>${code}</details>${edit}`
}

/** With a scheme at its very start, so that no browser reads another one, and with none that runs what follows it. */
const isSafe = (link: string): boolean => {
  const scheme = /^([a-z][a-z\d+.-]*):/i.exec(link)?.[1]?.toLowerCase()
  return scheme !== undefined && !["javascript", "data", "vbscript"].includes(scheme)
}

const sourceLines = ({ column, line }: Frame, { from, lines }: Source): Html =>
  html`<code>${
    lines.map((text, i) => {
      const number = from + i
      if (number !== line) return html`<span class="line" data-line="${number}">${coloured(text)}</span>`
      const [before, word, after] = pointed(text, column)
      const here = word !== "" && html`<b class="here">${word}</b>`
      return html`<mark class="line" data-line="${line}">${coloured(before)}${here}${coloured(after)}</mark>`
    })
  }</code>`

const keywords =
  "as|async|await|break|case|catch|class|const|continue|default|delete|do|else|export|extends|finally|for|" +
  "from|function|if|import|in|instanceof|interface|let|new|of|return|static|super|switch|this|throw|try|type|typeof|var|" +
  "void|while|yield"

const token = new RegExp(
  ["(//.*|/\\*(?:.*?\\*/|.*))", "(\"(?:[^\"\\\\]|\\\\.)*\"?|'(?:[^'\\\\]|\\\\.)*'?)", `\\b(?:${keywords})\\b`].join(
    "|"
  ),
  "g"
)

/** Cuts a line and never changes it. A guess is good enough: templates, and what spans lines, stay plain. */
const coloured = (line: string): ReadonlyArray<Html> => {
  const parts: Array<Html> = []
  let end = 0
  for (const { 0: text, 1: comment, 2: string, index } of line.matchAll(token)) {
    const kind = comment !== undefined ? "comment" : string !== undefined ? "string" : "keyword"
    parts.push(html`${line.slice(end, index)}<i class="${kind}">${text}</i>`)
    end = index + text.length
  }
  return [...parts, html`${line.slice(end)}`]
}

// --- the other sections ----------------------------------------------------------------------------------------------

/** What goes deeper than this is not drawn so. */
const deepest = 12

const layers = (onion: ReadonlyArray<Layer>): Html =>
  onion.reduceRight<Html>((inner, { app, failed, name }, depth) => {
    const label = html`${name}${app && html` <span class="note">the app</span>`}${
      failed && html` <strong>failed here</strong>`
    }`
    return html`<ol class="onion${depth > deepest && " flat"}"><li${
      failed && html` class="failed"`
    }><p>${label}</p>${inner}</li></ol>`
  }, html``)

const waterfall = (snapshot: Snapshot): Html => {
  const { all, place } = timeline(snapshot)
  return html`<div class="spans"><div class="span axis"><span>Span</span>
<span class="scale"><span>0 ms</span><span>${duration(all)}</span></span><span>Took</span></div>
<ol>${
    snapshot.spans.map((span) => {
      const { attributes, depth, name, status, took } = span
      const row = html`<span class="title depth-${Math.min(depth, deepest)}">${name}</span>${
        bar(status, ...place(span))
      }
<span class="took">${took !== undefined && html`${duration(took)} `}<span class="is-${status}">${
        status === "open" ? "still open" : status
      }</span></span>`
      return attributes.length === 0
        ? html`<li><div class="span">${row}</div></li>`
        : html`<li><details><summary class="span">${row}</summary>${
          table(`Attributes of ${name}`, attributes)
        }</details></li>`
    })
  }</ol></div>`
}

/** Drawn by attributes, since the policy allows no style of an element. */
const bar = (status: SpanRow["status"], from: number, to: number): Html =>
  html`<svg aria-hidden="true"><rect class="track" width="100%" height="100%"/><rect class="fill-${status}" x="${
    percent(Math.min(from, 0.995))
  }" width="${percent(Math.max(to - from, 0.005))}" height="100%" rx="2"/></svg>`

const percent = (share: number): string => `${Number((share * 100).toFixed(2))}%`

const logTable = (logs: ReadonlyArray<LogRow>): Html =>
  html`<table class="logs"><caption class="unseen">Logs of this request</caption>
<thead><tr><th scope="col">At</th><th scope="col">Level</th><th scope="col">Message</th></tr></thead><tbody>${
    logs.map(({ annotations, at, cause, level, message }) => {
      const loud = /error|fatal/i.test(level) && html` class="loud"`
      const pairs = annotations.map(([name, value]) => html`<span>${name}=${cut(value, 1000)}</span> `)
      return html`<tr><td>${duration(at)}</td><td${loud}>${level}</td><td>${prose("Message", message)}
${pairs.length > 0 && html`<p class="annotations">${pairs}</p>`}
${cause !== undefined && html`<details><summary>Cause</summary>${box("long", "Cause", cause)}</details>`}</td></tr>`
    })
  }</tbody></table>`

// --- what is written once --------------------------------------------------------------------------------------------

const script = `
const at = (id) => document.getElementById(id)
const copy = at("copy"), unfold = at("unfold"), text = at("copied"), said = at("said")
copy.hidden = unfold.hidden = false

copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(text.value)
    said.textContent = "Copied"
  } catch {
    at("all").open = true
    text.focus()
    text.select()
    said.textContent = document.execCommand("copy") ? "Copied" : "Selected: copy it with Ctrl+C"
  }
})

const closed = [...document.querySelectorAll("main details:not([open], #all)")]
unfold.addEventListener("click", () => {
  const open = unfold.getAttribute("aria-pressed") !== "true"
  unfold.setAttribute("aria-pressed", String(open))
  for (const details of closed) details.open = open
})
`

const css = `
:root {
  --paper: #fff; --ground: #f5f5f3; --ink: #1d1f22; --soft: #5a5f66; --line: #d8d9d6; --edge: #a9aca8;
  --accent: #b3241c; --tint: #fbeae8; --string: #0b6358;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  --step: 14px; color-scheme: light dark; font: 15px/1.5 var(--sans); color: var(--ink); background: var(--ground);
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #1b1d20; --ground: #131416; --ink: #e4e5e7; --soft: #a0a5ad; --line: #35383d; --edge: #666b73;
    --accent: #ff9086; --tint: #3b1f1e; --string: #84cfc2;
  }
}
* { box-sizing: border-box; }
body { margin: 0; overflow-wrap: anywhere; }
h1, h2, h3, h4, h5, h6, p, dl, dd, ol, ul, pre { margin: 0; padding: 0; font: inherit; }
ol, ul { list-style: none; }
code, pre, textarea, table, .at, .frames b, .title, .took { font-family: var(--mono); font-size: 13px; }
p, dd, td, th, code, pre, .name, .message, .title { unicode-bidi: isolate; }
a { color: inherit; text-underline-offset: 3px; text-decoration-color: var(--soft); }
a:hover { text-decoration-color: currentColor; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
main:focus { outline: none; }
summary { cursor: pointer; }
button {
  font: inherit; font-size: 13px; color: inherit; background: var(--paper); cursor: pointer;
  border: 1px solid var(--soft); border-radius: 4px; padding: 3px 12px;
}
button:hover { border-color: var(--ink); }
button[aria-pressed="true"] { background: var(--ink); color: var(--paper); }
[hidden] { display: none; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: 16px; top: -60px; padding: 6px 12px; background: var(--paper); z-index: 1; }
.skip:focus { top: 8px; }
.count, .none, .note, .inside, .label, .others, .axis, dt { color: var(--soft); }
.count { font-size: 13px; font-weight: 400; font-variant-numeric: tabular-nums; }

header { padding: 20px 0 24px; background: var(--paper); border-bottom: 1px solid var(--line); border-top: 4px solid var(--accent); }
header > div { max-width: 1200px; margin: 0 auto; padding: 0 32px; }
.bar { display: flex; justify-content: space-between; align-items: center; gap: 16px; min-height: 32px; }
.status b { color: var(--accent); }
h1 { padding-top: 12px; }
h1 .name { display: block; margin-bottom: 4px; font: 600 14px var(--mono); color: var(--accent); }
h1 .message { display: block; font-size: 25px; line-height: 1.3; font-weight: 600; letter-spacing: -0.01em; }
header .long { margin-top: 4px; padding: 0; border: 0; }
.others { padding-top: 6px; font-size: 13px; }
.target { padding-top: 14px; }
.target code { font-size: 14px; }
dl { display: flex; flex-wrap: wrap; gap: 4px 32px; padding-top: 10px; font-size: 13px; }
dt { display: inline; margin-right: 8px; }
dd { display: inline; font-family: var(--mono); }

.columns {
  display: grid; grid-template-columns: 136px minmax(0, 1fr); gap: 40px;
  max-width: 1200px; margin: 0 auto; padding: 28px 32px 64px;
}
nav ul { position: sticky; top: 24px; font-size: 14px; }
nav li { display: flex; justify-content: space-between; gap: 6px; padding: 3px 0; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
section { position: relative; scroll-margin-top: 16px; }
section + section { margin-top: 40px; padding-top: 24px; border-top: 1px solid var(--line); }
h2 { font-size: 18px; font-weight: 600; margin-bottom: 12px; }
h3, h4, h5, h6 { font-weight: 600; }
#request h3 { margin: 20px 0 6px; font-size: 14px; }
#unfold { position: absolute; right: 0; top: 0; }

.error > * + * { margin-top: 8px; }
.error h3, .error h4, .error h5, .error h6 { font-family: var(--mono); font-size: 14px; }
.kind { font: 600 12px var(--sans); color: var(--accent); border: 1px solid; border-radius: 3px; padding: 1px 6px; margin-right: 4px; }
.prose { white-space: pre-wrap; }
.tree { margin-top: 8px; }
.tree > li { position: relative; padding: 0 0 24px 24px; border-left: 1px solid var(--edge); }
.tree > li:last-child { border-left-color: transparent; padding-bottom: 0; }
.tree > li::before {
  content: ""; position: absolute; left: -1px; top: 0; width: 16px; height: 12px;
  border: solid var(--edge); border-width: 0 0 1px 1px;
}
.frames { border: 1px solid var(--line); border-radius: 6px; background: var(--paper); }
.frames li { position: relative; }
.frames > li + li { border-top: 1px solid var(--line); }
.frames summary, .frames li > p { padding: 5px 130px 5px 12px; font-size: 13px; }
.frames li > p { padding-left: 28px; }
.frames > li:not(.own) { color: var(--soft); }
.frames li li { padding-left: 16px; }
b + .at { color: var(--soft); margin-left: 4px; }
.edit { position: absolute; right: 12px; top: 6px; font-size: 12px; color: var(--soft); }

.source { overflow-x: auto; border-top: 1px solid var(--line); background: var(--ground); line-height: 1.55; tab-size: 2; }
.frames li:last-child .source { border-radius: 0 0 6px 6px; }
.source code { display: block; width: max-content; min-width: 100%; padding: 6px 0; }
.line { display: block; white-space: pre; padding-right: 16px; color: inherit; background: none; min-height: 1.55em; }
.line::before {
  content: attr(data-line); position: sticky; left: 0; display: inline-block; width: 60px; padding-right: 12px;
  margin-right: 12px; text-align: right; color: var(--soft); background: var(--ground);
}
mark.line { background: var(--tint); }
mark.line::before { content: "> " attr(data-line); color: var(--accent); background: var(--tint); font-weight: 700; }
.here { text-decoration: underline 2px var(--accent); text-underline-offset: 4px; }
.line i { font-style: normal; }
.line .comment { color: var(--soft); font-style: italic; }
.line .string { color: var(--string); }
.line .keyword { font-weight: 700; }

table, .spans { width: 100%; background: var(--paper); border: 1px solid var(--line); border-radius: 6px; }
table { border-spacing: 0; }
th, td { text-align: left; vertical-align: top; padding: 4px 12px; font-weight: 400; }
tr + tr > *, thead + tbody > tr > * { border-top: 1px solid var(--line); }
.pairs th { width: 28%; color: var(--soft); }
.logs thead th { color: var(--soft); font: 13px var(--sans); }
.logs th:nth-child(-n + 2) { width: 96px; }
.loud { color: var(--accent); font-weight: 700; }
.annotations { color: var(--soft); }
.annotations span { margin-right: 12px; }
.long {
  max-height: 320px; overflow: auto; white-space: pre-wrap; padding: 8px 12px;
  background: var(--paper); border: 1px solid var(--line); border-radius: 6px;
}
td .long { padding: 0; border: 0; }
textarea {
  width: 100%; margin-top: 8px; padding: 12px; line-height: 1.45; color: inherit; background: var(--paper);
  border: 1px solid var(--soft); border-radius: 4px; resize: vertical;
}

.onion li { border-left: 2px solid var(--edge); padding-left: 10px; }
.onion .onion { margin-left: 10px; }
.onion .flat { margin-left: -12px; }
.onion p { padding: 2px 0; font-family: var(--mono); font-size: 13px; }
.onion .failed { border-left-color: var(--accent); }
.onion .failed > p { margin-left: -10px; padding-left: 10px; background: var(--tint); }
.onion strong { color: var(--accent); margin-left: 8px; font: 600 13px var(--sans); }
.note { font-family: var(--sans); margin-left: 8px; }

.spans li { border-top: 1px solid var(--line); }
.spans table { margin: 2px 12px 10px 28px; width: auto; background: var(--ground); }
.span { display: grid; grid-template-columns: minmax(0, 30%) minmax(0, 1fr) 150px; gap: 16px; padding: 4px 12px; align-items: center; }
.axis, .scale { font-size: 13px; }
.scale { display: flex; justify-content: space-between; }
.title::before { content: ""; display: inline-block; width: 16px; }
summary > .title::before { content: "\\25b8"; color: var(--soft); }
[open] > summary > .title::before { content: "\\25be"; }
.span svg { width: 100%; height: 10px; display: block; }
.track { fill: var(--ground); }
.fill-ok, .fill-interrupted { fill: var(--soft); }
.fill-failed { fill: var(--accent); }
.fill-open { fill: none; stroke: var(--soft); stroke-dasharray: 4 3; }
.is-failed { color: var(--accent); font-weight: 700; }
.is-ok { color: var(--soft); }
${
  Array.from({ length: deepest }, (_, i) => `.depth-${i + 1} { padding-left: calc(${i + 1} * var(--step)); }`).join(
    "\n"
  )
}

@media (max-width: 800px) {
  header > div, .columns { padding-left: 16px; padding-right: 16px; }
  h1 .message { font-size: 20px; }
  .columns { display: block; }
  nav { margin-bottom: 28px; }
  nav ul { position: static; display: flex; flex-wrap: wrap; gap: 4px 16px; }
  .edit { display: block; position: static; padding: 0 12px 6px 28px; }
  .frames summary, .frames li > p { padding-right: 12px; }
  .tree > li { padding-left: 16px; }
  .tree > li::before { width: 10px; }
  :root { --step: 8px; }
  .span { grid-template-columns: minmax(0, 1fr) auto; gap: 4px 8px; }
  .span svg, .scale { grid-column: 1 / -1; grid-row: 2; }
  th, td { padding: 4px 8px; }
  .logs th:nth-child(-n + 2) { width: 76px; }
  .pairs tr, .pairs th, .pairs td { display: block; width: auto; border: 0; padding-top: 0; }
  .pairs tr { padding-top: 4px; }
  .pairs th { padding-bottom: 0; }
  .pairs tr + tr { border-top: 1px solid var(--line); }
  .onion .onion { margin-left: 2px; }
  .onion .flat { margin-left: -12px; }
}
@media print {
  nav, button, .skip, #text, .edit { display: none; }
  .columns { display: block; }
  ::details-content { content-visibility: visible; block-size: auto; }
  .long { max-height: none; }
  .source code { width: auto; }
  .line { white-space: pre-wrap; }
}
`
