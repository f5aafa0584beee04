import type { Forwarding, Offer, RequestHead } from '@ringway/tunnel'
import { acceptKey, admit } from '@ringway/tunnel'

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** A good handshake's headers, without those named, and with more behind. */
export function headers(without: string[] = [], more: string[] = []): string[] {
  const all: [string, string][] = [
    ['Host', 'example.com'],
    ['Upgrade', 'websocket'],
    ['Connection', 'Upgrade'],
    ['Sec-WebSocket-Key', KEY],
    ['Sec-WebSocket-Version', '13']
  ]
  return [...all.filter(([name]) => !without.includes(name)).flat(), ...more]
}

/** A good handshake's head, changed. */
export function request(changes: Partial<RequestHead> = {}): RequestHead {
  return { method: 'GET', target: '/chat?room=1', httpVersion: '1.1', rawHeaders: headers(), ...changes }
}

export function offerOf(head: RequestHead): Offer {
  return admit(head)
}

export const forwarding: Forwarding = { for: '192.0.2.7', proto: 'https', host: 'example.com' }

/** A backend's good 101, with more headers. */
export function switching(more = ''): string {
  return (
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${acceptKey(KEY)}\r\n${more}\r\n`
  )
}
