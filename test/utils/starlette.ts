/** The machine's own Starlette, to which the page for those who come from it is held. */
import { execFileSync, spawnSync } from "node:child_process"
import * as Path from "node:path"

/** That of Debian 12: others answer in other ways, and the page says what this one does. */
export const version = "0.26.1"

/** The first Python that has it, and what else the blocks import. Debian's packages belong to /usr/bin/python3. */
const python = ["/usr/bin/python3", "python3"].find((command) => {
  try {
    execFileSync(command, ["-c", `import starlette, jwt, itsdangerous; assert starlette.__version__ == "${version}"`], {
      stdio: "ignore"
    })
    return true
  } catch {
    return false
  }
})

export const install = "Debian 12: apt-get install -y python3-starlette python3-jwt python3-itsdangerous"
export const isMissing = python === undefined

export interface Sent {
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: string
}

export interface Answer {
  readonly status: number
  /** Names in lower case, of several one after the other. */
  readonly headers: Record<string, string>
  readonly body: string
}

/** Runs all apps in one process, each of them with its requests in order. */
export const runAll = (apps: ReadonlyArray<readonly [code: string, requests: ReadonlyArray<Sent>]>) => {
  if (python === undefined) throw new Error(`there is no Python with Starlette ${version}: ${install}`)
  const { status, stderr, stdout } = spawnSync(python, [Path.join(import.meta.dirname, "asgi.py")], {
    input: JSON.stringify(apps),
    encoding: "utf8",
    timeout: 20_000
  })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as ReadonlyArray<ReadonlyArray<Answer>>
}
