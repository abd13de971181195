import type { HttpApp } from "@effect/platform"
import { Cookies, type Middleware } from "effect-middleware"
import { typeOf } from "./fixtures.js"

type Of<Name extends string = "Cookies"> = Middleware.Middleware<never, never, never, never, Name, Middleware.Phases>

typeOf(Cookies.middleware()).is<Of>()
typeOf(Cookies.middleware({ httpOnly: { except: ["csrf"] }, sameSite: "strict", name: "Own" })).is<Of<"Own">>()
declare const options: Cookies.Options
typeOf(Cookies.middleware(options)).is<Of<string>>()

// a response is replaced, which no handler of the app's failures sees
declare const app: HttpApp.Default
typeOf(app.pipe(Cookies.middleware({ onViolation: "refuse" }))).is<HttpApp.Default>()

// the rules alone
declare const sameSite: Cookies.SameSite
declare const facts: Cookies.Facts
typeOf(Cookies.policy({ sameSite })({ name: "a" }, facts)).is<Cookies.Verdict>()
typeOf(new Cookies.InsecureCookie()._tag).is<"InsecureCookie">()
// @ts-expect-error no such attribute
Cookies.policy({ sameSite: "some" })
