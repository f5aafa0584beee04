import { readdirSync, readFileSync } from 'node:fs'

/** A process and all that descend from it. */
export function treeOf(root: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    const parent = /^\d+$/.test(name) ? parentOf(name) : undefined
    if (parent !== undefined) parents.set(Number(name), parent)
  }
  const tree = [root]
  for (const pid of tree) for (const [child, parent] of parents) if (parent === pid) tree.push(child)
  return tree
}

/** The memory that a process and its descendants have in use (RSS), in KiB. */
export function memoryOf(root: number): number {
  return treeOf(root)
    .map(pid => /^Rss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))![1])
    .reduce((sum, kib) => sum + Number(kib), 0)
}

function parentOf(pid: string): number | undefined {
  try {
    // Its name, in brackets, may hold anything.
    const [, parent] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)!.split(' ')
    return Number(parent)
  } catch {
    return undefined // gone meanwhile
  }
}
