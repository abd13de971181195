/** The session of the application on this package. */
import { Schema } from "effect"
import { Session } from "effect-middleware"
import { nobody } from "./work.js"

const Visitor = Schema.Struct({
  name: Schema.String,
  visits: Schema.Int,
  email: Schema.String,
  roles: Schema.Array(Schema.String),
  locale: Schema.String,
  token: Schema.String,
  seen: Schema.Array(Schema.String)
})

export class Visit extends Session.Tag("bench/Visit")<Visit>()(Visitor, { initial: () => nobody }) {}
