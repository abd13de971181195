/** Every law, for every middleware, in the mounts that Node serves over a socket. A middleware joins them by its line in utils/subjects.ts. */
import { describeLaws } from "./utils/describeLaws.js"
import { mounts } from "./utils/TestApp.js"

// on NodeServer a middleware that is given to serve is applied as Stack.serve applies it: one of the two is enough
describeLaws(mounts.filter(({ name }) => name.includes("Node") && name !== "HttpServer.serve(mw), NodeServer"))
