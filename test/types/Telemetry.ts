import { type Metric, type MetricKeyType, type MetricState } from "effect"
import { Stack, Telemetry } from "effect-middleware"
import { auth, cors, errors, session, typeOf } from "./fixtures.js"

// the same type: provided, required, editable
const stack = Stack.make(errors, session, auth)
typeOf(Telemetry.observe(stack)).is<typeof stack>()
typeOf(Telemetry.observe(session, { spans: "children", durations: false })).is<typeof session>()
typeOf(Stack.append(Telemetry.observe(stack), cors).members[3]).is<typeof cors>()

const options: Telemetry.Options = { spans: "none", durations: true }
typeOf(Telemetry.observe(stack, options)).is<typeof stack>()

typeOf(Telemetry.durations).is<
  Metric.Metric<MetricKeyType.MetricKeyType.Histogram, number, MetricState.MetricState.Histogram>
>()

// @ts-expect-error no middleware
Telemetry.observe({})
// @ts-expect-error one of three words
Telemetry.observe(stack, { spans: true })
