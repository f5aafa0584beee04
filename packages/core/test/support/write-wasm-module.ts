import { writeFileSync } from 'node:fs'
import { assemble, target } from './wasm-module.ts'

writeFileSync(target, await assemble())
