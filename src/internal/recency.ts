/**
 * A Map keeps the order in which keys came: what is used is taken out and put in again, so the first is the one that has
 * not been used for longest.
 */
export const recency = <A>() => {
  const map = new Map<string, A>()
  // One iterator stays open, since a new one would walk over all that has been deleted at the front.
  let keys = map.keys()
  let first: string | undefined

  const oldest = (): string | undefined => {
    if (first !== undefined) return first
    const next = keys.next()
    if (next.done !== true) return first = next.value
    keys = map.keys()
    const again = keys.next()
    return first = again.done === true ? undefined : again.value
  }
  const remove = (key: string) => {
    if (key === first) first = undefined
    return map.delete(key)
  }
  return {
    size: () => map.size,
    peek: (key: string) => map.get(key),
    set: (key: string, value: A) => {
      remove(key)
      map.set(key, value)
    },
    delete: remove,
    oldest
  }
}
