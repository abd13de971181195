/** On this package's own server. */
import { platform } from "./effectApp.js"
import { startOn } from "./oursApp.js"

export const start = startOn(platform)
