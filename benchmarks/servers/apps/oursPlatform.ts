/** On platform's server. */
import { platform } from "./effectApp.js"
import { startOn } from "./oursApp.js"

export const start = startOn(platform)
