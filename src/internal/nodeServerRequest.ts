/** A request of Node's server as platform's. */
import * as NodeMultipart from "@effect/platform-node/NodeMultipart"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Cookies from "@effect/platform/Cookies"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Headers from "@effect/platform/Headers"
import * as IncomingMessage from "@effect/platform/HttpIncomingMessage"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import { RequestError } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Multipart from "@effect/platform/Multipart"
import type * as Path from "@effect/platform/Path"
import type * as Socket from "@effect/platform/Socket"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { IncomingMessage as Source, ServerResponse } from "node:http"
import type { RequestChanges } from "../Middleware.js"
import { baseKey, viewKey } from "./requestView.js"

type Upgrade = Effect.Effect<Socket.Socket, RequestError>

/** What stands in the place of what came. */
type Changes = Omit<RequestChanges, "stream">

/**
 * Has the members that platform's own request has, also those that its types do not show and that
 * `NodeHttpServerRequest` reads: `source`, and `response`, which is a function where the request asks for another protocol.
 */
export class NodeServerRequest extends Inspectable.Class implements HttpServerRequest.HttpServerRequest {
  private known: {
    cookies?: Readonly<Record<string, string>>
    text?: Effect.Effect<string, RequestError>
    multipart?: Effect.Effect<
      Multipart.Persisted,
      Multipart.MultipartError,
      Scope.Scope | FileSystem.FileSystem | Path.Path
    >
  } | undefined

  constructor(
    readonly source: Source,
    readonly response: ServerResponse | (() => ServerResponse),
    private readonly upgrading?: Upgrade,
    private readonly changes?: Changes,
    /** Whose body it shares. */
    private readonly base?: NodeServerRequest
  ) {
    super()
  }

  get [HttpServerRequest.TypeId](): HttpServerRequest.TypeId {
    return HttpServerRequest.TypeId
  }
  get [IncomingMessage.TypeId](): IncomingMessage.TypeId {
    return IncomingMessage.TypeId
  }
  get [baseKey](): NodeServerRequest | undefined {
    return this.base
  }
  get method(): HttpMethod {
    return this.changes?.method ?? this.source.method!.toUpperCase() as HttpMethod
  }
  get originalUrl(): string {
    return this.source.url!
  }
  get url(): string {
    return this.changes?.url ?? this.source.url!
  }
  get headers(): Headers.Headers {
    // Node's names are in lower case, and its values strings but for Set-Cookie, which no request has
    return this.changes?.headers ?? this.source.headers as unknown as Headers.Headers
  }
  get remoteAddress(): Option.Option<string> {
    return this.changes?.remoteAddress ?? Option.fromNullable(this.source.socket.remoteAddress)
  }
  get cookies(): Readonly<Record<string, string>> {
    return (this.known ??= {}).cookies ??= Cookies.parseHeader(this.headers["cookie"] ?? "")
  }
  get upgrade(): Upgrade {
    return this.upgrading ?? Effect.fail(
      new RequestError({ request: this, reason: "Decode", description: "not an upgradeable ServerRequest" })
    )
  }

  get stream(): Stream.Stream<Uint8Array, RequestError> {
    return NodeStream.fromReadable<RequestError, Uint8Array>(() => this.source, this.unreadable())
  }
  get arrayBuffer(): Effect.Effect<ArrayBuffer, RequestError> {
    return this.base?.arrayBuffer ?? Effect.map(
      this.read((options) => NodeStream.toUint8Array(() => this.source, options)),
      // a buffer of Node's may be a part of a larger one
      (bytes) => new Uint8Array(bytes).buffer
    )
  }
  get text(): Effect.Effect<string, RequestError> {
    return this.base?.text ?? ((this.known ??= {}).text ??= Effect.runSync(
      Effect.cached(this.read((options) => NodeStream.toString(() => this.source, options)))
    ))
  }
  get json(): Effect.Effect<unknown, RequestError> {
    return Effect.tryMap(this.text, {
      try: (text): unknown => text === "" ? null : JSON.parse(text),
      catch: this.unreadable()
    })
  }
  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, RequestError> {
    return Effect.map(this.text, (text) => UrlParams.fromInput(new URLSearchParams(text)))
  }
  get multipart(): HttpServerRequest.HttpServerRequest["multipart"] {
    return this.base?.multipart ?? ((this.known ??= {}).multipart ??= Effect.runSync(
      Effect.cached(NodeMultipart.persisted(this.source, this.source.headers))
    ))
  }
  get multipartStream(): Stream.Stream<Multipart.Part, Multipart.MultipartError> {
    return NodeMultipart.stream(this.source, this.source.headers)
  }

  modify(
    { headers, remoteAddress, url }: Parameters<HttpServerRequest.HttpServerRequest["modify"]>[0]
  ): NodeServerRequest {
    return this[viewKey]({
      headers,
      url,
      remoteAddress: remoteAddress === undefined ? undefined : Option.some(remoteAddress)
    })
  }
  [viewKey](changes: Changes): NodeServerRequest {
    const { changes: before, response, source, upgrading } = this
    return new NodeServerRequest(source, response, upgrading, {
      method: changes.method ?? before?.method,
      url: changes.url ?? before?.url,
      headers: changes.headers ?? before?.headers,
      remoteAddress: changes.remoteAddress ?? before?.remoteAddress
    }, this.base ?? this)
  }

  override toString(): string {
    return `ServerRequest(${this.method} ${this.url})`
  }
  toJSON(): unknown {
    return IncomingMessage.inspect(this, {
      _id: "@effect/platform/HttpServerRequest",
      method: this.method,
      url: this.originalUrl
    })
  }

  private unreadable() {
    return (cause: unknown) => new RequestError({ request: this, reason: "Decode", cause })
  }

  private read<A>(
    f: (
      options: { readonly onFailure: (cause: unknown) => RequestError; readonly maxBytes: FileSystem.Size | undefined }
    ) => Effect.Effect<A, RequestError>
  ): Effect.Effect<A, RequestError> {
    return Effect.flatMap(
      IncomingMessage.MaxBodySize,
      (size) => f({ onFailure: this.unreadable(), maxBytes: Option.getOrUndefined(size) })
    )
  }
}
