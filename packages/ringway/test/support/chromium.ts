import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** What is missing on this machine for a real browser; undefined when nothing is. */
export function missing(): string | undefined {
  const { error } = spawnSync('chromium', ['--version'], { timeout: 30_000 })
  return error === undefined ? undefined : 'Needs Chromium: apt-get install chromium'
}

/** Opens a page in a headless browser with a profile of its own, which ends with the test. The page tells what it finds. */
export async function browse(t: TestContext, url: string): Promise<void> {
  const profile = await mkdtemp(join(tmpdir(), 'ringway-chromium-'))
  const flags = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--disable-dev-shm-usage',
    '--ignore-certificate-errors',
    `--user-data-dir=${profile}`
  ]
  // A group of processes, which is ended as one.
  const browser = spawn('chromium', [...flags, url], { detached: true, stdio: 'ignore' })
  t.after(async () => {
    const isOver = browser.exitCode !== null || browser.signalCode !== null
    const exit = isOver ? undefined : once(browser, 'exit')
    try {
      process.kill(-browser.pid!, 'SIGKILL')
    } catch {
      // all of it is gone
    }
    await exit
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  })
  await once(browser, 'spawn')
}
