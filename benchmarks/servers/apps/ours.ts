/** The same application on this package. */
import {
  AccessLog,
  Cors,
  ExceptionHandlers,
  Forwarded,
  ProblemDetails,
  RequestId,
  ServerTiming,
  Stack,
  TrustedHost
} from "effect-middleware"
import { exposedHeaders, hosts, maxAge, methods, origins, requestHeaders, type Variant } from "../work.js"
import { listen, router, type UserLocked } from "./effectApp.js"

const stack = Stack.make(
  Forwarded.middleware({ trust: "none" }),
  ServerTiming.middleware({ processTime: false }),
  RequestId.middleware(),
  TrustedHost.middleware({ hosts }),
  Cors.middleware({
    origins,
    credentials: true,
    exposedHeaders,
    methods,
    headers: requestHeaders,
    maxAge: `${maxAge} seconds`
  }),
  ExceptionHandlers.byTag({
    RouteNotFound: () => ProblemDetails.toResponse({ status: 404 }),
    UserLocked: (_: UserLocked) =>
      ProblemDetails.toResponse({
        status: 409,
        type: "https://example.com/problems/user-locked",
        title: "User locked"
      })
  })
)

const logged = Stack.after(stack, "RequestId", AccessLog.middleware())

export const start = (variant: Variant): Promise<number> => {
  if (variant === "bare") return listen(router)
  return listen(router.pipe(variant === "full" ? stack : logged))
}
