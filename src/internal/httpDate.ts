/** Dates of HTTP (RFC 9110 section 5.6.7), in milliseconds since the epoch. */

const days = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
const longDays = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
const month = `(?<month>${months.join("|")})`
const time = "(?<hour>\\d\\d):(?<minute>\\d\\d):(?<second>\\d\\d)"

const formats = [
  // IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
  new RegExp(`^(?:${days}), (?<day>\\d\\d) ${month} (?<year>\\d{4}) ${time} GMT$`),
  // of RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
  new RegExp(`^(?:${longDays}), (?<day>\\d\\d)-${month}-(?<year>\\d\\d) ${time} GMT$`),
  // of asctime: Sun Nov  6 08:49:37 1994
  new RegExp(`^(?:${days}) ${month} (?<day>[ \\d]\\d) ${time} (?<year>\\d{4})$`)
]

/** `now` says which century a year of two digits is in: it is not more than 50 years ahead. */
export const parseHttpDate = (text: string, now: number): number | undefined => {
  // the longest there is: "Wednesday, 06-Nov-94 08:49:37 GMT"
  if (text.length > 33) return undefined
  for (const format of formats) {
    const parts = format.exec(text)?.groups
    if (parts !== undefined) return toTime(parts, now)
  }
  return undefined
}

/** In the one format that is sent, to the second before. */
export const formatHttpDate = (time: number): string => new Date(time).toUTCString()

const toTime = (parts: { readonly [name: string]: string }, now: number): number | undefined => {
  const { day, hour, minute, month, second, year } = parts
  const [d, h, m, s] = [Number(day), Number(hour), Number(minute), Number(second)]
  // a leap second is the one after
  if (h > 23 || m > 59 || s > 60) return undefined
  const y = year!.length === 4 ? Number(year) : centuryOf(Number(year), new Date(now).getUTCFullYear())
  const date = new Date(0)
  // and not Date.UTC, which takes the year 94 for 1994
  date.setUTCFullYear(y, months.indexOf(month!), d)
  return date.getUTCDate() === d ? date.setUTCHours(h, m, s) : undefined
}

const centuryOf = (year: number, current: number): number => {
  const full = current - current % 100 + year
  return full > current + 50 ? full - 100 : full <= current - 50 ? full + 100 : full
}
