import { Effect, Ref, Schema } from "effect"

export class Note extends Schema.Class<Note>("Note")({
  id: Schema.Number,
  text: Schema.NonEmptyString
}) {}

export class NoteNotFound extends Schema.TaggedError<NoteNotFound>()("NoteNotFound", { id: Schema.Number }) {}

/** Notes in memory. A test, or a database, provides the same service by another layer. */
export class Notes extends Effect.Service<Notes>()("notes/Notes", {
  effect: Effect.gen(function*() {
    const notes = yield* Ref.make<ReadonlyMap<number, Note>>(new Map())
    const nextId = yield* Ref.make(1)

    const read = (id: number) =>
      Effect.flatMap(Ref.get(notes), (notes) => {
        const note = notes.get(id)
        return note === undefined ? new NoteNotFound({ id }) : Effect.succeed(note)
      })

    return {
      list: Effect.map(Ref.get(notes), (notes) => [...notes.values()]),
      create: (text: string) =>
        Effect.tap(
          Effect.map(Ref.getAndUpdate(nextId, (id) => id + 1), (id) => new Note({ id, text })),
          (note) => Ref.update(notes, (notes) => new Map(notes).set(note.id, note))
        ),
      read,
      delete: (id: number) =>
        Effect.zipRight(
          read(id),
          Ref.update(notes, (notes) => new Map([...notes].filter(([key]) => key !== id)))
        )
    }
  })
}) {}
