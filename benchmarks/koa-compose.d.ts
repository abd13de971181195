// @types/koa-compose brings the types of Koa and of Express with it
declare module "koa-compose" {
  type Layer<C> = (context: C, next: () => Promise<unknown>) => unknown
  const compose: <C>(layers: ReadonlyArray<Layer<C>>) => (context: C, next?: Layer<C>) => Promise<unknown>
  export = compose
}
