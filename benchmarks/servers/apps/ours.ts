/** On this package's own server. */
import { own } from "./effectApp.js"
import { startOn } from "./oursApp.js"

export const start = startOn(own)
