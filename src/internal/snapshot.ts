/**
 * What the debug page shows of one failure: plain data, redacted and cut already. `snapshotOf` gathers it, `debugHtml`
 * and `debugText` draw it.
 */

import * as Effect from "effect/Effect"
export type Pair = readonly [name: string, value: string]

export interface Snapshot {
  /** One line: `TypeError: x is not a function`. */
  readonly title: string
  readonly status: number
  /** When the request failed, as ISO 8601. */
  readonly at: string
  /** Milliseconds from the request's arrival to its failure. */
  readonly took: number
  readonly cause: CauseNode
  readonly request: RequestFacts
  /** The members of the stack, outermost first, and last of all the app. */
  readonly onion: ReadonlyArray<Layer>
  /** The spans of this request, in the order in which they began; `depth` is 0 for those without a parent among them. */
  readonly spans: ReadonlyArray<SpanRow>
  readonly logs: ReadonlyArray<LogRow>
  readonly services: ReadonlyArray<ServiceRow>
  readonly environment: ReadonlyArray<Pair>
}

export type CauseNode =
  | { readonly kind: "empty" }
  | { readonly kind: "parallel" | "sequential"; readonly causes: ReadonlyArray<CauseNode> }
  | { readonly kind: "fail" | "die"; readonly error: ErrorNode }
  | { readonly kind: "interrupt"; readonly by: string }

export interface ErrorNode {
  /** `TypeError`, or the tag of a tagged error; the type of what is no error (`string`). */
  readonly name: string
  readonly message: string
  /** The fields of a typed error, one line each. */
  readonly fields: ReadonlyArray<Pair>
  readonly frames: ReadonlyArray<Frame>
  /** The names of the spans around it, innermost first. */
  readonly spans: ReadonlyArray<string>
  /** What has caused it: `error.cause`, and the errors of an `AggregateError`. */
  readonly causes: ReadonlyArray<ErrorNode>
}

export interface Frame {
  readonly function: string | undefined
  /** Relative to the working directory where it is in it. */
  readonly file: string
  readonly line: number
  readonly column: number
  /** Whether it is neither in a package nor of the runtime. */
  readonly own: boolean
  readonly source: Source | undefined
  /** Opens it in an editor, where one is configured. */
  readonly link: string | undefined
}

export interface Source {
  /** The number of the first line. */
  readonly from: number
  readonly lines: ReadonlyArray<string>
}

export interface RequestFacts {
  readonly method: string
  /** With its query, redacted. */
  readonly target: string
  readonly route: string | undefined
  readonly remoteAddress: string | undefined
  readonly headers: ReadonlyArray<Pair>
  readonly query: ReadonlyArray<Pair>
  readonly cookies: ReadonlyArray<Pair>
  /** `note` says why there is none, or that it has been cut. */
  readonly body: { readonly text: string | undefined; readonly note: string | undefined }
}

export interface Layer {
  readonly name: string
  /** Whether it is where the failure came from. */
  readonly failed: boolean
  readonly app: boolean
}

export interface SpanRow {
  readonly name: string
  readonly depth: number
  /** Milliseconds after the request's arrival. */
  readonly start: number
  /** Milliseconds; `undefined` for one that had not ended. */
  readonly took: number | undefined
  readonly status: "ok" | "failed" | "interrupted" | "open"
  readonly attributes: ReadonlyArray<Pair>
}

export interface LogRow {
  readonly level: string
  readonly message: string
  /** Milliseconds after the request's arrival. */
  readonly at: number
  readonly annotations: ReadonlyArray<Pair>
  readonly cause: string | undefined
}

export interface ServiceRow {
  readonly key: string
  /** What is known of it without asking it: its value where that is plain data, else what it is made by. */
  readonly value: string
}
export const snapshotOf = (_: unknown): Effect.Effect<Snapshot> =>
  Effect.succeed({ title: "stub", status: 500 } as Snapshot)
