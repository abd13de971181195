import { SessionStore } from "effect-middleware"
import * as Contract from "./contracts/SessionStoreContract.js"

Contract.suite("in memory", SessionStore.layerMemory())
