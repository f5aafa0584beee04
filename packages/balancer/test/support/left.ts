import { readdirSync, readlinkSync } from 'node:fs'

/** All sockets of this process. Only Linux tells. */
export function openSockets(): string[] {
  if (process.platform !== 'linux') return []
  const files = readdirSync('/proc/self/fd').map(each => {
    try {
      return readlinkSync(`/proc/self/fd/${each}`)
    } catch {
      return 'the directory itself'
    }
  })
  return files.filter(each => each.startsWith('socket:'))
}

/** What of this process's keeps it alive, but for its own pipes. */
export function activeResources(): string[] {
  return process
    .getActiveResourcesInfo()
    .filter(name => /TCP|UDP|TLS|Timeout|FSEvent|Pipe(?!Wrap$)/.test(name))
}
