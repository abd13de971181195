import { type Duration, Effect, LogLevel } from "effect"
import { AccessLog, Forwarded, type Middleware, RequestId, Stack } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Name extends string = "AccessLog"> = Middleware.Middleware<
  AccessLog.Fields,
  never,
  Forwarded.Client,
  never,
  Name,
  Middleware.Phases
>

typeOf(AccessLog.middleware()).is<Of>()
typeOf(AccessLog.middleware({
  slow: "1 second",
  level: ({ status }) => status === 404 ? LogLevel.Debug : undefined,
  skip: (entry) => entry.path === "/health",
  sample: 0.1,
  fields: ({ duration }) => ({ "app.fast": duration.value._tag === "Nanos" }),
  query: ["page"],
  userAgent: false,
  requestHeaders: ["referer"],
  responseHeaders: ["content-type"],
  name: "Log"
})).is<Of<"Log">>()
AccessLog.middleware({ query: "names" })
declare const options: AccessLog.Options
typeOf(AccessLog.middleware(options)).is<Of<string>>()
AccessLog.middleware({ slow: undefined, level: undefined, query: undefined, name: undefined })

Stack.make(Forwarded.middleware({ trust: "none" }), RequestId.middleware(), AccessLog.middleware())
// @ts-expect-error the client is known only inside Forwarded
Stack.make(AccessLog.middleware(), Forwarded.middleware({ trust: "none" }))
// @ts-expect-error a duration has a unit
AccessLog.middleware({ slow: "1" })
// @ts-expect-error a share is a number
AccessLog.middleware({ sample: "10%" })
// @ts-expect-error an object would be written as whatever a logger makes of it
AccessLog.middleware({ fields: () => ({ user: { id: 1 } }) })
// @ts-expect-error an effect decides nothing
AccessLog.middleware({ skip: () => Effect.succeed(true) })

// fields of a handler ask for nothing
typeOf(AccessLog.annotate({ "enduser.id": "u-7", hits: 2, cached: false, none: null, gone: undefined })).is<
  Effect.Effect<void>
>()
// @ts-expect-error no object
AccessLog.annotate({ user: { id: 1 } })
same<(typeof AccessLog.Fields)["Service"], { readonly set: (key: string, value: AccessLog.Value) => void }>()
same<Extract<AccessLog.Fields, Middleware.PerRequest>, AccessLog.Fields>()
same<AccessLog.Value, string | number | bigint | boolean | null | undefined>()

// the rules alone
typeOf(AccessLog.policy(options)).is<(entry: AccessLog.Entry, chance: () => number) => AccessLog.Line | undefined>()
declare const entry: AccessLog.Entry
typeOf(entry.client).is<Forwarded.ClientInfo>()
typeOf(entry.duration).is<Duration.Duration>()
typeOf(entry.refusal).is<Middleware.Refusal | undefined>()
declare const line: AccessLog.Line
typeOf(line.level).is<LogLevel.LogLevel>()
