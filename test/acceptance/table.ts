/** What a script prints in the end. */

/** The first row is the header. */
export const printTable = (rows: ReadonlyArray<ReadonlyArray<string | number>>) => {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => `${row[i]}`.length))) ?? []
  const line = (row: ReadonlyArray<string | number>) =>
    `| ${
      row.map((cell, i) => typeof cell === "number" ? `${cell}`.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))
        .join(" | ")
    } |`
  const [first = [], ...rest] = rows
  console.log(
    [line(first), `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...rest.map(line)].join("\n")
  )
}
