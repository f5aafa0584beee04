import type * as session from 'express-session'

declare module 'express-session' {
  /** What this app keeps of a client. */
  interface SessionData {
    user: string
  }
}
