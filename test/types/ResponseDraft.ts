import { type Cookies, type Headers, HttpBody, HttpServerResponse } from "@effect/platform"
import { ResponseDraft } from "effect-middleware"
import { Busy, typeOf } from "./fixtures.js"

const open = ResponseDraft.open(HttpServerResponse.empty())
typeOf(open).is<ResponseDraft.Open>()
typeOf(open.toResponse()).is<HttpServerResponse.HttpServerResponse>()
typeOf(open.takeRefusal()).is<object | undefined>()

const draft: ResponseDraft.ResponseDraft = open
draft.status = 404
typeOf(draft.status).is<number>()
typeOf(draft.body).is<HttpBody.HttpBody>()
typeOf(draft.cookies).is<Cookies.Cookies>()
typeOf(draft.headers).is<Headers.Headers>()
typeOf(draft.refusal).is<unknown>()
typeOf(draft.get("vary")).is<string | undefined>()
typeOf(draft.has("vary")).is<boolean>()
typeOf(draft.set("x-a", "1")).is<void>()
typeOf(draft.setIfAbsent("x-a", "1")).is<void>()
typeOf(draft.setDefaults({ "x-a": "1" })).is<void>()
typeOf(draft.append("link", "</a>")).is<void>()
typeOf(draft.delete("x-a")).is<void>()
typeOf(draft.vary("origin", "accept")).is<void>()
typeOf(draft.cacheControl("no-store")).is<void>()
typeOf(draft.challenge("Basic")).is<void>()
typeOf(draft.serverTiming("db;dur=1")).is<void>()
typeOf(draft.replaceCookies(draft.cookies)).is<void>()
typeOf(draft.setCookie("a", "1", { httpOnly: true })).is<void>()
typeOf(draft.setBody(HttpBody.empty)).is<void>()
typeOf(draft.replace(HttpServerResponse.empty())).is<void>()
typeOf(draft.refuse(new Busy())).is<void>()
typeOf(draft.onSent((sent) => typeOf(sent).is<ResponseDraft.Sent>())).is<void>()
typeOf(open.listeners).is<ReadonlyArray<(sent: ResponseDraft.Sent) => void>>()

// @ts-expect-error by `setBody`
draft.body = HttpBody.empty
// @ts-expect-error a refusal is an object
draft.refuse("busy")
// @ts-expect-error a value is a string
draft.set("x-a", 1)
