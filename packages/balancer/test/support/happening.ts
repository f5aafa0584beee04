/** Something that a test waits for: a promise, and the call that fulfils it. */
export function happening<T = void>(): { seen: Promise<T>; happened: (value: T) => void } {
  let happened: (value: T) => void = ignore
  const seen = new Promise<T>(resolve => {
    happened = resolve
  })
  return { seen, happened }
}

function ignore(): void {}
