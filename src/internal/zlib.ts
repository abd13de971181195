/** The codings as node:zlib has them. */
import type { Transform } from "node:stream"
import * as Zlib from "node:zlib"
import type { Coding } from "./codings.js"

export type Bytes = string | ArrayBuffer | NodeJS.ArrayBufferView
type Done = (error: Error | null, bytes: Buffer) => void

export interface Encoder {
  readonly now: (bytes: Bytes) => Buffer
  /** In another thread. */
  readonly later: (bytes: Bytes, done: Done) => void
  /** With `flush` a chunk that goes in comes out without waiting for the next. */
  readonly stream: (flush: boolean) => Engine
}

/** A transform that tells how much of what it was given it has made use of. */
export type Engine = Transform & Pick<Zlib.Zlib, "bytesWritten">

interface Method<Options> {
  readonly sync: (bytes: Bytes, options: Options) => Buffer
  readonly async: (bytes: Bytes, options: Options, done: Done) => void
  readonly stream: (options: Options) => Engine
}

const encoder = <Options extends Zlib.ZlibOptions | Zlib.BrotliOptions>(
  { async, stream, sync }: Method<Options>,
  options: Options,
  flush: number
): Encoder => ({
  now: (bytes) => sync(bytes, options),
  later: (bytes, done) => async(bytes, options, done),
  stream: (flushes) => stream(flushes ? { ...options, flush } : options)
})

const { constants } = Zlib

/** What Node has from 22.15 on, which its types for 20 do not know. */
interface Zstd {
  readonly zstdCompressSync: Method<Zlib.BrotliOptions>["sync"]
  readonly zstdCompress: Method<Zlib.BrotliOptions>["async"]
  readonly createZstdCompress: Method<Zlib.BrotliOptions>["stream"]
  readonly createZstdDecompress: Method<Zlib.BrotliOptions>["stream"]
}
const zstd = "createZstdCompress" in Zlib ? Zlib as unknown as Zstd : undefined
/** ZSTD_c_compressionLevel, ZSTD_e_flush and ZSTD_d_windowLogMax, as zstd.h numbers them. */
const [zstdLevel, zstdFlush, zstdWindow] = [100, 1, 100]

/** Whether the Node that runs has it: zstd is there from 22.15 on. */
const isAvailable = (coding: Coding): boolean => coding !== "zstd" || zstd !== undefined

const codings: ReadonlyArray<Coding> = ["zstd", "br", "gzip", "deflate"]

/** Those of an option that the running Node has; throws, by the name of the module, on what is none. */
export const availableOf = (module: string, algorithms: ReadonlyArray<Coding> = codings): ReadonlyArray<Coding> => {
  const wrong = algorithms.find((coding) => !codings.includes(coding))
  if (wrong !== undefined) {
    throw new TypeError(`${module}: algorithms has ${JSON.stringify(wrong)}: write some of ${codings.join(", ")}`)
  }
  const available = algorithms.filter(isAvailable)
  if (available.length > 0) return available
  throw new TypeError(`${module}: algorithms has none that this Node knows: add "gzip", which all do`)
}

export const encoderOf = (coding: Coding, level: number): Encoder => {
  switch (coding) {
    case "gzip":
      return encoder(
        { sync: Zlib.gzipSync, async: Zlib.gzip, stream: Zlib.createGzip },
        { level },
        constants.Z_SYNC_FLUSH
      )
    case "deflate":
      return encoder(
        { sync: Zlib.deflateSync, async: Zlib.deflate, stream: Zlib.createDeflate },
        { level },
        constants.Z_SYNC_FLUSH
      )
    case "br":
      return encoder(
        { sync: Zlib.brotliCompressSync, async: Zlib.brotliCompress, stream: Zlib.createBrotliCompress },
        { params: { [constants.BROTLI_PARAM_QUALITY]: level } },
        constants.BROTLI_OPERATION_FLUSH
      )
    case "zstd":
      if (zstd === undefined) throw new TypeError("node:zlib has no zstd before Node 22.15")
      return encoder(
        { sync: zstd.zstdCompressSync, async: zstd.zstdCompress, stream: zstd.createZstdCompress },
        { params: { [zstdLevel]: level } },
        zstdFlush
      )
  }
}

const decoders: { readonly [name: string]: (() => Engine) | undefined } = {
  gzip: () => Zlib.createGunzip(),
  deflate: () => Zlib.createInflate(),
  br: () => Zlib.createBrotliDecompress(),
  // 8 MiB, which is what HTTP has (RFC 9659): what asks for more would take it at its first byte
  zstd: zstd && (() => zstd.createZstdDecompress({ params: { [zstdWindow]: 23 } }))
}

/** Undoes a coding, unless it is one that is not known here. */
export const decoderOf = (name: string): (() => Engine) | undefined =>
  Object.hasOwn(decoders, name) ? decoders[name] : undefined
