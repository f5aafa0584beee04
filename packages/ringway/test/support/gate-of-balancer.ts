// Test support of the balancer's. No package exports that, so it's found beside what it does export.
async function load(name: string): Promise<unknown> {
  const root = import.meta.resolve('@ringway/balancer/package.json')
  return import(new URL(`dist/test/support/${name}.js`, root).href)
}

type DnsmasqSupport = typeof import('../../../balancer/test/support/dnsmasq.ts')
type LeftSupport = typeof import('../../../balancer/test/support/left.ts')

/** A real DNS server. */
export const dnsmasq: DnsmasqSupport = (await load('dnsmasq')) as DnsmasqSupport

/** What is left of a process. */
export const left: LeftSupport = (await load('left')) as LeftSupport
