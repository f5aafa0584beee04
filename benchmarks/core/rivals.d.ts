// What the benchmark uses of two packages that come without types.
declare module 'hashring' {
  export default class HashRing {
    constructor(servers: readonly string[])
    get(key: string): string
  }
}
declare module 'consistent-hash' {
  export default class ConsistentHash {
    add(node: string): this
    get(key: string): string
  }
}
