/**
 * What a failure leaves behind: at the client, in the log, with the reporter.
 */
import { Cause, Effect, Layer, Logger } from "effect"
import { ErrorReporter } from "effect-middleware"
import * as Http from "node:http"
import type { Init } from "./TestApp.js"

export interface Seen {
  readonly status: number
  readonly type: string | undefined
  readonly fields: Http.IncomingHttpHeaders
  readonly body: string
  /** Whether the response ended as it should. */
  readonly whole: boolean
}

/** What a client sees of a request, down to a connection that is cut off. */
export const see = (
  port: number,
  { body, headers = {}, method = "GET", path = "/" }: Init
): Effect.Effect<Seen | "no answer"> =>
  Effect.async((resume) => {
    const message = Http.request({ port, host: "127.0.0.1", method, path, headers, agent: false }, (response) => {
      let body = ""
      response.on("data", (chunk) => body += String(chunk))
      response.on("error", () => {})
      response.on("close", () =>
        resume(Effect.succeed({
          status: response.statusCode!,
          type: response.headers["content-type"],
          fields: response.headers,
          body,
          whole: response.complete
        })))
    })
    message.on("error", () => resume(Effect.succeed("no answer")))
    message.end(body)
    return Effect.sync(() => message.destroy())
  })

export interface Witness {
  readonly logged: Array<string>
  readonly reported: Array<ErrorReporter.Report>
  readonly layer: Layer.Layer<never>
}

/** What is logged, as level and message, `+` where there is a cause; and what is reported. */
export const witness = (
  report: (report: ErrorReporter.Report) => Effect.Effect<void, unknown> = () => Effect.void
): Witness => {
  const logged: Array<string> = []
  const reported: Array<ErrorReporter.Report> = []
  const logger = Logger.make(({ cause, logLevel, message }) => {
    logged.push(`${logLevel.label} ${String(message)}${Cause.isEmpty(cause) ? "" : " +"}`)
  })
  const layer = Layer.merge(
    Logger.replace(Logger.defaultLogger, logger),
    ErrorReporter.layer((failed) =>
      Effect.suspend(() => {
        reported.push(failed)
        return report(failed)
      })
    )
  )
  return { logged, reported, layer }
}

export const failed = "ERROR A request failed +"
export const noPhase = "ERROR A response phase failed; a 500 takes its place +"

/** Waits for what runs beside the response. */
export const settled = Effect.repeatN(Effect.yieldNow(), 50)
