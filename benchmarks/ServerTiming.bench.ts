import { ServerTiming } from "effect-middleware"
import { bench, describe } from "vitest"

describe("ServerTiming.policy", () => {
  const mark = (name: string) => ({ name, duration: 1.2345, description: undefined })
  const few = [mark("db"), mark("cache"), mark("view")]
  const many = Array.from({ length: 32 }, (_, i) => mark(`m${i}`))

  const total = ServerTiming.policy()
  bench("the total", () => void total({ elapsed: 12.3456, detailed: false, marks: [] }))
  const both = ServerTiming.policy({ processTime: true })
  bench("the total, in two fields", () => void both({ elapsed: 12.3456, detailed: false, marks: [] }))
  bench("with 3 marks", () => void total({ elapsed: 12.3456, detailed: true, marks: few }))
  bench("with 32 marks", () => void total({ elapsed: 12.3456, detailed: true, marks: many }))
  const described = few.map((mark) => ({ ...mark, description: "a \"query\" of the database" }))
  bench("with 3 descriptions", () => void total({ elapsed: 12.3456, detailed: true, marks: described }))
})
