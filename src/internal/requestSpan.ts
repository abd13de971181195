/** The span of a request where nobody traces: it is what a handler and the router see, and costs no more than that. */
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import type * as Exit from "effect/Exit"
import type * as Tracer from "effect/Tracer"

const none: ReadonlyMap<string, unknown> = new Map()

/**
 * A span that nobody reads, but for who asks: what it is told is kept, since the route is told to it, and its identity,
 * which calls to other servers pass on, is made when it is first needed.
 */
export class RequestSpan implements Tracer.Span {
  private noted: Map<string, unknown> | undefined
  private made: Tracer.Span | undefined

  constructor(
    private readonly request: HttpServerRequest,
    /** What platform's tracer would have made of the request. */
    private readonly make: (request: HttpServerRequest) => Tracer.Span
  ) {}

  get _tag() {
    return "Span" as const
  }
  get kind() {
    return "server" as const
  }
  get name() {
    return `http.server ${this.request.method}`
  }
  get attributes(): ReadonlyMap<string, unknown> {
    return this.noted ?? none
  }
  get spanId() {
    return this.real.spanId
  }
  get traceId() {
    return this.real.traceId
  }
  get parent() {
    return this.real.parent
  }
  get context() {
    return this.real.context
  }
  get status() {
    return this.real.status
  }
  get links() {
    return this.real.links
  }
  get sampled() {
    return this.real.sampled
  }
  end(_time: bigint, _exit: Exit.Exit<unknown, unknown>) {}
  attribute(key: string, value: unknown) {
    ;(this.noted ??= new Map()).set(key, value)
  }
  event() {}
  addLinks(links: ReadonlyArray<Tracer.SpanLink>) {
    this.real.addLinks(links)
  }

  private get real(): Tracer.Span {
    return this.made ??= this.make(this.request)
  }
}
