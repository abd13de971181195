/**
 * Permits, and a queue of those who wait for one: bounded, first in first out. Who waits, waits because all permits are in
 * use; so one that comes back goes to them, and nobody overtakes.
 */
export class Gate<W> {
  inUse = 0
  private readonly queue = new Set<W>()

  constructor(private readonly permits: number, private readonly places: number, private readonly onIdle: () => void) {}

  get isFull(): boolean {
    return this.inUse === this.permits && this.queue.size >= this.places
  }
  take(): boolean {
    if (this.inUse === this.permits) return false
    this.inUse++
    return true
  }
  wait(who: W): void {
    this.queue.add(who)
  }
  /** Whether it was still waiting. */
  leave(who: W): boolean {
    return this.queue.delete(who)
  }
  /** Gives a permit back. The one that has waited longest has it then. */
  release(): W | undefined {
    for (const who of this.queue) {
      this.queue.delete(who)
      return who
    }
    this.inUse--
    if (this.inUse === 0) this.onIdle()
    return undefined
  }
}

/** A gate for each key that is in use. */
export class Gates<W> {
  private readonly gates = new Map<string, Gate<W>>()

  constructor(private readonly permits: number, private readonly places: number) {}

  get size(): number {
    return this.gates.size
  }
  /** To be taken from at once: a gate that nobody uses is forgotten when the last permit comes back, and not before. */
  at(key: string): Gate<W> {
    const known = this.gates.get(key)
    if (known !== undefined) return known
    const gate = new Gate<W>(this.permits, this.places, () => this.gates.delete(key))
    this.gates.set(key, gate)
    return gate
  }
}
