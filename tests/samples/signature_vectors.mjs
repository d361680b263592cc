// Holds signature.mjs against messages: now, secret, id, timestamp, signatures, body, and so on.
import { pathToFileURL } from 'node:url'

const [module, ...given] = process.argv.slice(2)
const { faultOf, keyOf } = await import(pathToFileURL(module).href)
for (let at = 0; at < given.length; at += 6) {
  const [now, secret, id, timestamp, signature, body] = given.slice(at, at + 6)
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signature,
  }
  console.log(faultOf([keyOf(secret)], headers, Buffer.from(body), Number(now)) || 'genuine')
}
