export { ConfigError, RingwayError } from './errors.ts'
export { order } from './strategy.ts'
export type { Member, Strategy, Table } from './strategy.ts'
