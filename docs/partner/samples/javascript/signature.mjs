// Tells whether a webhook came from us: the signature of Standard Webhooks, over the body's bytes.
import { createHmac, timingSafeEqual } from 'node:crypto'

const TOLERANCE = 300 // seconds; an older webhook may be a recording

/**
 * Returns the key of a secret. Call it when your program starts: with an empty or a short key
 * anybody could sign, and the error is better then than at the first webhook.
 *
 * @param {string} secret
 */
export function keyOf(secret) {
  const encoded = secret.startsWith('whsec_') ? secret.slice('whsec_'.length) : null
  const key = Buffer.from(encoded ?? secret, encoded === null ? 'utf8' : 'base64')
  const fits =
    encoded === null
      ? between(16, [...secret].length, 128)
      : /^[A-Za-z0-9+/]+={0,2}$/.test(encoded) && between(24, key.length, 64)
  if (!fits) {
    throw new Error(
      'a webhook secret is whsec_ and base64 of 24 to 64 bytes, or other text of 16 to 128 characters',
    )
  }
  return key
}

/**
 * Returns what is wrong with a webhook: '' if it is genuine, else answer 401.
 *
 * @param {Buffer[]} keys of one secret, or of two while you change from one to the other
 * @param {Record<string, string>} headers with names in small letters, as node:http gives them
 * @param {Buffer} body the bytes as they came; never a text that was parsed and written again
 * @param {number} now in seconds since 1970
 */
export function faultOf(keys, headers, body, now = Date.now() / 1000) {
  const id = headers['webhook-id']
  const timestamp = headers['webhook-timestamp']
  const signatures = headers['webhook-signature']
  if (!id || !timestamp || !signatures) return 'a header of the signature is missing'
  if (!/^[0-9]{1,12}$/.test(timestamp)) return 'webhook-timestamp is not a number'
  const age = Math.round(now - Number(timestamp))
  if (Math.abs(age) > TOLERANCE) return `webhook-timestamp is ${age} s old`
  // While a secret is rotated there are two signatures: one that matches is enough.
  const found = keys.some((key) => {
    const hmac = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body)
    const ours = Buffer.from(`v1,${hmac.digest('base64')}`)
    return signatures.split(' ').some((each) => equal(ours, Buffer.from(each)))
  })
  return found ? '' : 'no signature matches'
}

function between(least, number, most) {
  return least <= number && number <= most
}

function equal(ours, theirs) {
  return ours.length === theirs.length && timingSafeEqual(ours, theirs)
}
