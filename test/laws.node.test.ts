/** Every law, for every middleware, in the mounts that Node serves over a socket. A middleware joins them by its line in utils/subjects.ts. */
import { describeLaws } from "./utils/describeLaws.js"
import { mounts } from "./utils/TestApp.js"

describeLaws(mounts.filter(({ name }) => name.includes("Node")))
