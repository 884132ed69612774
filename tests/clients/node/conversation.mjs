// Reads one JSON command a line, lets the client do it, and writes one JSON answer a line.
//
// What the client takes for an OAuth error is told as `refused`, in the client's own words; whatever else it throws is
// `broken`: an answer of the provider's that it could not accept.

import { webcrypto } from 'node:crypto'
import { createInterface } from 'node:readline'

globalThis.crypto ??= webcrypto // Node.js 18 has it, but not by this name
globalThis.CryptoKey ??= webcrypto.CryptoKey

const REFUSALS = new Set(['AuthorizationResponseError', 'ResponseBodyError', 'WWWAuthenticateChallengeError'])

function told(error) {
  if (!REFUSALS.has(error.name)) return { broken: describe(error) }
  const challenge = Array.isArray(error.cause) ? error.cause[0]?.parameters : undefined
  return { refused: { kind: error.name, error: error.error ?? challenge?.error, status: error.status } }
}

function describe(error) {
  const cause = error.cause instanceof Error ? `\n${describe(error.cause)}` : ''
  return `${error.stack}${cause}`
}

export async function converse(verbs) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { verb, ...command } = JSON.parse(line)
    const answer = await verbs[verb](command).then((done) => ({ done }), told)
    process.stdout.write(`${JSON.stringify(answer)}\n`)
  }
}

// What a callback is, as this client's site would receive it.
export function received({ url, form }) {
  if (!form) return new URL(url)
  return new Request(url, { method: 'POST', body: new URLSearchParams(form) })
}
