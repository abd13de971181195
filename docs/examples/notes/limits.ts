/**
 * How much anybody may ask for: an address, a plan, a login.
 */
import type { Middleware } from "effect-middleware"
import { RateLimit } from "effect-middleware"
import { CurrentUser } from "./Users.js"

/** Of one address, before anything is looked up for it. */
export const byAddress = RateLimit.middleware({
  limits: RateLimit.gcra({ limit: 50, window: "1 second", burst: 100 }),
  key: RateLimit.client()
})

const plans = {
  free: RateLimit.limits(RateLimit.quota({ limit: 100, per: "day" })),
  machine: RateLimit.limits([
    RateLimit.tokenBucket({ capacity: 20, refill: 10, every: "1 second", name: "burst" }),
    RateLimit.quota({ limit: 10_000, per: "day" })
  ])
}

/** Of a user, whatever addresses it has: as much as its plan allows. */
export const byPlan = RateLimit.middleware({
  name: "Plan",
  limits: (exchange: Middleware.Exchange<CurrentUser>) => plans[exchange.get(CurrentUser).user.plan],
  key: RateLimit.principal(CurrentUser)
})

/** Who has failed five times has to wait for a second, then for two, four, ... */
export const logins = RateLimit.login({
  address: RateLimit.fixedWindow({ limit: 100, window: "1 hour" }),
  account: RateLimit.backOff({ after: 5, first: "1 second", most: "15 minutes" })
})
