// Tells whether a webhook came from us: the signature of Standard Webhooks, over the body's bytes.
import { createHmac, timingSafeEqual } from 'node:crypto'

const TOLERANCE = 300 // seconds; an older webhook may be a recording

/**
 * Returns what is wrong with a webhook: '' if it is genuine, else answer 401.
 *
 * @param {string[]} secrets one, or two while you change from one to the other
 * @param {Record<string, string>} headers with names in small letters, as node:http gives them
 * @param {Buffer} body the bytes as they came; never a text that was parsed and written again
 * @param {number} now in seconds since 1970
 */
export function faultOf(secrets, headers, body, now = Date.now() / 1000) {
  const id = headers['webhook-id']
  const timestamp = headers['webhook-timestamp']
  const signatures = headers['webhook-signature']
  if (!id || !timestamp || !signatures) return 'a header of the signature is missing'
  if (!/^[0-9]{1,12}$/.test(timestamp)) return 'webhook-timestamp is not a number'
  const age = Math.round(now - Number(timestamp))
  if (Math.abs(age) > TOLERANCE) return `webhook-timestamp is ${age} s old`
  // While a secret is rotated there are two signatures: one that matches is enough.
  const found = secrets.some((secret) => {
    const hmac = createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.`).update(body)
    const ours = Buffer.from(`v1,${hmac.digest('base64')}`)
    return signatures.split(' ').some((each) => equal(ours, Buffer.from(each)))
  })
  return found ? '' : 'no signature matches'
}

function keyOf(secret) {
  return secret.startsWith('whsec_')
    ? Buffer.from(secret.slice('whsec_'.length), 'base64')
    : Buffer.from(secret, 'utf8')
}

function equal(ours, theirs) {
  return ours.length === theirs.length && timingSafeEqual(ours, theirs)
}
