/** What was spent in memory: what every store owes, and what is memory's own. */
import { RateLimitStore } from "effect-middleware"
import * as Contract from "./contracts/RateLimitStoreContract.js"

Contract.suite("in memory", RateLimitStore.layerMemory())
