import type { KeyFunction } from '@ringway/core'
import { remoteAddress } from '@ringway/core'
import { Fields } from '@ringway/core/fields'
import type { Networks } from '@ringway/core/networks'
import { parseNetworks } from '@ringway/core/networks'
import type { UpstreamOptions } from '@ringway/balancer'
import type { RateLimit, SpliceOptions } from '@ringway/tunnel'
import type { AddressLimits } from './address-limits.ts'
import { checkAddressLimits } from './address-limits.ts'
import { Admission } from './admission.ts'
import type { Authorize, RequestHook } from './hooks.ts'
import { Hooks } from './hooks.ts'
import type { ErrorPages, Pages } from './error-pages.ts'
import { checkErrorPages } from './error-pages.ts'

/** Limits in time, all in milliseconds. `read`, `send`, `chain` and `lifetime` are off at 0. */
export interface Timeouts {
  /** How long an app's chain may take to let an upgrade through or to answer it. Default 30,000. */
  readonly chain?: number
  /** For name look-up, TCP and TLS to a server; nginx's `proxy_connect_timeout`. Default 5,000. */
  readonly connect?: number
  /** From our request to the whole head of a server's answer. Default 60,000. */
  readonly handshake?: number
  /** Nothing has passed in either direction for so long; nginx's `proxy_read_timeout`. Default 60,000. */
  readonly read?: number
  /** Bytes wait for a side that takes none for so long; nginx's `proxy_send_timeout`. Default 60,000. */
  readonly send?: number
  /** Silence that one side may keep after the other has ended, or after it was refused. Default 5,000. */
  readonly linger?: number
  /** How long a tunnel may live, give or take a tenth by chance; then it is closed with 1012. Default 0, without end. */
  readonly lifetime?: number
}

/** Who is asked for a sign of life, and when. Times in milliseconds. */
export interface PingOptions {
  /** After so long without a byte. Default 25,000: below the limits of most others on the way. */
  readonly every?: number
  /** So long it has for an answer. Default 10,000. */
  readonly timeout?: number
  /** Whom. Default `'client'`. */
  readonly side?: 'client' | 'backend'
}

/** Where lines go: pino's shape, so `fastify.log`, pino and winston fit as they are. */
export interface Log {
  /** Each upgrade and request at its end. */
  info(fields: object, message: string): void
  /** Failures of servers, and servers that go out of use. */
  warn(fields: object, message: string): void
  /** Failures of hooks and of the gateway itself. */
  error(fields: object, message: string): void
}

/** What {@link createGateway} takes. An unknown name is an error, never ignored. */
export interface GatewayOptions {
  /** The servers, who gets which client, and what is known of their health. */
  readonly upstream: UpstreamOptions & {
    /**
     * What must go to the same server has the same key. May be async. `undefined` and the empty text mean no key:
     * then `keyless` chooses. A throw or rejection is a 500. Default: {@link remoteAddress}.
     */
    readonly key?: KeyFunction
  }
  /** Limits in time. */
  readonly timeouts?: Timeouts
  /**
   * Follows where WebSocket frames end, so that tunnels can be ended by a Close frame between two of them: 1012 when their
   * server is drained, goes down or is back, 1001 when the gateway closes or at the `read` limit, 1011 when the server was
   * lost. No byte that passes is changed. Default false: clients see a FIN or a reset, so 1006.
   */
  readonly watch?: boolean
  /** Whether a side's FIN is passed on and the other side goes on; false closes both, as nginx does. Default true. */
  readonly halfClose?: boolean
  /**
   * Asks one side of each tunnel for a Pong when nothing has come from it for `every` milliseconds, and ends the tunnel when
   * nothing comes within `timeout` either. Needs `watch`. Default: nobody is asked.
   */
  readonly ping?: PingOptions
  /**
   * Bytes that a client's message may have, as sent, so compressed where it is; a larger one ends the tunnel with 1009. Needs
   * `watch`. Default 0, no limit.
   */
  readonly maxMessage?: number
  /** How much each client may send in a second: more waits, and its client with it. Default: no limit. */
  readonly rate?: RateLimit
  /**
   * Whether tunnels of plain sockets read into one buffer that all of them share, where this Node has what that needs.
   * Default true; false takes Node's streams, as TLS does anyway.
   */
  readonly sharedReads?: boolean
  /**
   * Proxies in front that are believed: addresses, networks such as `10.0.0.0/8`, `loopback`, `linklocal`, `uniquelocal`, and
   * `unix:`. The client's address, for the key, the log and hooks, is then the one that they tell by `X-Forwarded-For`, read
   * from its right end. Servers get its `X-Forwarded-For` from the client's address on, so without what the client wrote, with
   * the nearest proxy's address behind; `-Proto` and `-Host` as the nearest proxy sent them, which vouches for them. Default:
   * nobody; what comes is replaced. nginx: `set_real_ip_from` with `real_ip_recursive on`, and `$proxy_add_x_forwarded_for`.
   * Express: `trust proxy`.
   */
  readonly trust?: readonly string[]
  /**
   * Pages that may open WebSockets here, by their origin: `https://app.example`, or `https://*.app.example` for its
   * sub-domains; any other is refused with 403, `null` too. A client that sends no `Origin` is no browser, and passes. Default:
   * all.
   */
  readonly origins?: readonly string[]
  /**
   * Hosts that upgrades and requests may be for: `app.example`, `*.app.example` for its sub-domains, both on any port unless one
   * is named; for any other, or none, the answer is 403. Default: all. nginx: `server_name` with a default server that refuses.
   */
  readonly hosts?: readonly string[]
  /**
   * How much each client address may have; what is beyond it gets 429 with `Retry-After`, and a burst of such refusals is one
   * line in the log. Default: no limits. What all clients together may have is in `upstream.limits`.
   */
  readonly limits?: AddressLimits
  /**
   * Whether an upgrade or a request is let in: `undefined` lets it in, an answer is the client's, and anything else, a throw or
   * a rejection is a 500. May be async, within `timeouts.chain`; asked before the key, and given the signal that is aborted when
   * the client is gone. Default: all are let in. nginx: `auth_request`.
   */
  readonly authorize?: Authorize
  /**
   * Headers for the server of each upgrade and request, behind all that the gateway sets itself: a text is sent in place of what
   * the client sent under that name, `undefined` takes it away. Asked once, after the key, whatever servers are tried; may be
   * async, within `timeouts.chain`. A throw, a rejection, or a name that is the connection's or the handshake's
   * (`Connection`, `Sec-WebSocket-…`) is a 500. Default: none. nginx: `proxy_set_header`.
   */
  readonly request?: RequestHook
  /**
   * What clients read of errors that the gateway answers itself. In Express and Fastify such errors are the app's to show.
   * Default: a line of text, or HTML or JSON if the client would rather have it, with no word of servers or stacks. nginx:
   * `error_page`. HAProxy: `errorfile`.
   */
  readonly errorPages?: ErrorPages
  /**
   * Whether errors of servers get these pages too, where there is one of their status, in Express and Fastify as well;
   * `WWW-Authenticate`, `Allow`, `Retry-After` and `Upgrade` are kept. Default false. nginx: `proxy_intercept_errors`.
   */
  readonly interceptErrors?: boolean
  /** Where lines go. Default: errors to stderr, all else nowhere. */
  readonly log?: Log
}

/** The options, checked, with every default filled in. */
export interface Config {
  readonly upstream: UpstreamOptions
  readonly hooks: Hooks
  readonly timeouts: Required<Timeouts>
  /** What each tunnel is told, besides its limits in time. */
  readonly splice: Pick<SpliceOptions, 'watch' | 'sharedReads' | 'halfClose' | 'maxMessage' | 'rate'>
  readonly ping: Required<PingOptions> | undefined
  readonly log: Log
  readonly trusted: Networks | undefined
  readonly limits: Required<AddressLimits>
  readonly admission: Admission
  readonly pages: Pages
}

const STDERR: Log = {
  info() {},
  warn() {},
  error(fields, message) {
    const { error } = fields as { error?: unknown }
    process.stderr.write(`ringway: ${message}${error instanceof Error ? `: ${error.stack}` : ''}\n`)
  }
}

/** What {@link Gateway.close} may be told. */
export interface CloseOptions {
  /**
   * Milliseconds that open tunnels and requests under way have; then what is left is cut off. Default 0: at once. nginx:
   * `worker_shutdown_timeout`. HAProxy: `hard-stop-after`.
   */
  readonly drain?: number
  /**
   * Milliseconds over which tunnels are ended one after the other, evenly. Default four fifths of `drain`. HAProxy:
   * `close-spread-time`.
   */
  readonly spread?: number
  /** The code of the Close frames that end them, with `watch`. Default 1001, going away. */
  readonly code?: number
}

/** @throws ConfigError that names the first bad option */
export function checkClose(options: CloseOptions): Required<CloseOptions> {
  const fields = new Fields(options, '', ['drain', 'spread', 'code'])
  const drain = fields.milliseconds('drain', 0, 0)
  return {
    drain,
    spread: fields.milliseconds('spread', drain * 0.8, 0),
    code: fields.closeCode('code', 1001)
  }
}

const NEEDS_WATCH = 'needs `watch: true`'

/** @throws ConfigError that names the first bad option; those of the upstream are checked by the upstream */
export function checkOptions(options: GatewayOptions): Config {
  const fields = new Fields(options, '', [
    'upstream',
    'timeouts',
    'watch',
    'sharedReads',
    'halfClose',
    'ping',
    'maxMessage',
    'rate',
    'trust',
    'origins',
    'hosts',
    'limits',
    'authorize',
    'request',
    'errorPages',
    'interceptErrors',
    'log'
  ])
  if (!fields.has('upstream')) throw fields.error('upstream', 'must be given, with at least one server')
  // The rest of the upstream's fields is the balancer's to check.
  const upstream = new Fields(options.upstream, 'upstream', Object.keys(options.upstream ?? {}))
  const { key = remoteAddress(), ...rest } = options.upstream
  if (typeof key !== 'function') throw upstream.mismatch('key', 'a function')

  const times = new Fields(fields.has('timeouts') ? options.timeouts : {}, 'timeouts', [
    'chain',
    'connect',
    'handshake',
    'read',
    'send',
    'linger',
    'lifetime'
  ])
  const timeouts = {
    chain: times.milliseconds('chain', 30_000, 0),
    connect: times.milliseconds('connect', 5_000, 1),
    handshake: times.milliseconds('handshake', 60_000, 1),
    read: times.milliseconds('read', 60_000, 0),
    send: times.milliseconds('send', 60_000, 0),
    linger: times.milliseconds('linger', 5_000, 1),
    lifetime: times.milliseconds('lifetime', 0, 0)
  }
  const log = checkLog(fields)
  return {
    upstream: rest,
    hooks: new Hooks(fields, key, timeouts.chain),
    timeouts,
    splice: checkSplice(fields),
    ping: fields.has('ping') ? checkPing(fields) : undefined,
    log,
    trusted: fields.has('trust') ? parseNetworks(fields.get('trust'), 'trust') : undefined,
    limits: checkAddressLimits(fields),
    admission: new Admission(fields),
    pages: checkErrorPages(fields, log)
  }
}

/** Checks the field `log`; what is given back never throws. */
export function checkLog(fields: Fields): Log {
  const log = fields.has('log') ? fields.get('log') : STDERR
  for (const level of ['info', 'warn', 'error'] as const) {
    if (typeof (log as Partial<Log> | null)?.[level] !== 'function')
      throw fields.error('log', `must have a method "${level}"`)
  }
  return guarded(log as Log)
}

/** A log whose failures hurt nobody: we write lines in the middle of what must go on. */
function guarded(log: Log): Log {
  const safely =
    (level: keyof Log) =>
    (fields: object, message: string): void => {
      try {
        log[level](fields, message)
      } catch (error) {
        process.stderr.write(`ringway: the log failed: ${String(error)}\n`)
      }
    }
  return { info: safely('info'), warn: safely('warn'), error: safely('error') }
}

function checkSplice(fields: Fields): Config['splice'] {
  const watch = fields.boolean('watch', false)
  const maxMessage = fields.integer('maxMessage', 0, 0)
  if (maxMessage > 0 && !watch) throw fields.error('maxMessage', NEEDS_WATCH)
  return {
    watch,
    maxMessage,
    sharedReads: fields.boolean('sharedReads', true),
    halfClose: fields.boolean('halfClose', true),
    rate: fields.has('rate') ? checkRate(fields, watch) : undefined
  }
}

function checkRate(fields: Fields, watch: boolean): Required<RateLimit> {
  const rate = new Fields(fields.get('rate'), 'rate', ['bytes', 'messages'])
  const messages = rate.integer('messages', 0, 0)
  if (messages > 0 && !watch) throw rate.error('messages', NEEDS_WATCH)
  return { bytes: rate.integer('bytes', 0, 0), messages }
}

function checkPing(fields: Fields): Required<PingOptions> {
  const ping = new Fields(fields.get('ping'), 'ping', ['every', 'timeout', 'side'])
  if (!fields.boolean('watch', false)) throw fields.error('ping', NEEDS_WATCH)
  const side = ping.has('side') ? ping.get('side') : 'client'
  if (side !== 'client' && side !== 'backend') throw ping.mismatch('side', "'client' or 'backend'")
  return {
    every: ping.milliseconds('every', 25_000, 1),
    timeout: ping.milliseconds('timeout', 10_000, 1),
    side
  }
}
