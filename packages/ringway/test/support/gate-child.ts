import type { ChildProcess, ForkOptions } from 'node:child_process'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { within } from './gate-waiting.ts'

/** A process of its own, and the first message that it sent. */
export interface Child<Message> {
  readonly process: ChildProcess
  readonly message: Message
}

/** Runs one of the scripts beside this one until it has sent its first message; killed behind the test. */
export async function child<Message>(
  t: TestContext,
  script: string,
  ...args: string[]
): Promise<Child<Message>> {
  return started(t, script, args, {})
}

/** The same with no more than so many file descriptors. */
export async function limitedChild<Message>(
  t: TestContext,
  descriptors: number,
  script: string,
  ...args: string[]
): Promise<Child<Message>> {
  const shell = `ulimit -n ${descriptors}; exec "$0" "$@"`
  return started(t, script, args, { execPath: '/bin/sh', execArgv: ['-c', shell, process.execPath] })
}

async function started<Message>(
  t: TestContext,
  script: string,
  args: readonly string[],
  options: ForkOptions
): Promise<Child<Message>> {
  const process = fork(fileURLToPath(new URL(script, import.meta.url)), args, {
    ...options,
    stdio: ['ignore', 1, 2, 'ipc']
  })
  t.after(() => process.kill('SIGKILL'))
  const failed = once(process, 'exit').then(([code]) => {
    throw new Error(`${script} ended with ${String(code)} before it was ready`)
  })
  const [message] = (await within(
    Promise.race([once(process, 'message'), failed]),
    `${script} to be ready`
  )) as [Message]
  failed.catch(() => {})
  return { process, message }
}

/** Kills a process with no chance to say anything. */
export async function kill({ process }: Child<unknown>): Promise<void> {
  const exit = once(process, 'exit')
  process.kill('SIGKILL')
  await exit
}
