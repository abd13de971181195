import type { HttpApp, HttpServerRespondable } from "@effect/platform"
import { Decompression, type Middleware } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Fails = Decompression.UnsupportedCoding | Decompression.MalformedCoding | Decompression.DecompressedTooLarge
type Of<Name extends string = "Decompression"> = Middleware.Middleware<
  never,
  Fails,
  never,
  never,
  Name,
  Middleware.Phases
>

typeOf(Decompression.middleware()).is<Of>()
typeOf(Decompression.middleware({ limit: "10 MiB", layers: 2, name: "Uploads" })).is<Of<"Uploads">>()
declare const options: Decompression.Options
typeOf(Decompression.middleware(options)).is<Of<string>>()

// @ts-expect-error 1000 or 1024: say which
Decompression.middleware({ limit: "1 MB" })
// @ts-expect-error a coding that is none
Decompression.middleware({ algorithms: ["compress"] })

// the refusals join the failures of the app, and know their responses
declare const app: HttpApp.Default
typeOf(app.pipe(Decompression.middleware())).is<HttpApp.Default<Fails>>()
declare const unsupported: Decompression.UnsupportedCoding
declare const malformed: Decompression.MalformedCoding
declare const tooLarge: Decompression.DecompressedTooLarge
same<typeof unsupported._tag, "UnsupportedCoding">()
same<typeof unsupported.reason, "unknown" | "layers">()
same<typeof malformed._tag, "MalformedCoding">()
same<typeof tooLarge._tag, "DecompressedTooLarge">()
same<typeof tooLarge.reason, "size" | "ratio">()
export const respondables: ReadonlyArray<HttpServerRespondable.Respondable> = [unsupported, malformed, tooLarge]

// the rules alone
typeOf(Decompression.policy(options)).is<(contentEncoding: string | undefined) => Decompression.Decision>()
same<Decompression.Decision["_tag"], "Pass" | "Decode" | "Unsupported">()
