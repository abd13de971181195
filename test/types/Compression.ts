import type { HttpApp, HttpServerRespondable } from "@effect/platform"
import { Compression, type Middleware } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Name extends string = "Compression"> = Middleware.Middleware<
  never,
  never,
  never,
  never,
  Name,
  Middleware.Phases
>

typeOf(Compression.middleware()).is<Of>()
typeOf(Compression.middleware({ minSize: 500, levels: { gzip: 9 }, name: "Gzip" })).is<Of<"Gzip">>()
declare const options: Compression.Options
typeOf(Compression.middleware(options)).is<Of<string>>()

same<Compression.Coding, "zstd" | "br" | "gzip" | "deflate">()
// @ts-expect-error a coding that is none
Compression.middleware({ algorithms: ["lzma"] })
// @ts-expect-error one level for each coding
Compression.middleware({ levels: 9 })
// @ts-expect-error a level of a coding that is none
Compression.middleware({ levels: { brotli: 4 } })
// @ts-expect-error a word that is none
Compression.middleware({ breach: "on" })

// an app fails with nothing more
declare const app: HttpApp.Default<"failed">
typeOf(app.pipe(Compression.middleware())).is<HttpApp.Default<"failed">>()

// what is answered to who refuses everything
declare const refusal: Compression.NotAcceptable
same<typeof refusal._tag, "NotAcceptable">()
export const respondable: HttpServerRespondable.Respondable = refusal

// the rules alone
typeOf(Compression.policy(options)).is<(facts: Compression.Facts) => Compression.Decision>()
same<Compression.Decision["coding"], Compression.Coding | undefined>()
