// Receives webhooks: verifies each, takes it once, and never goes back to an older version.
//
// What it knows is in memory here. In a real program both are tables, written in one transaction
// before the answer: an event that was answered with 2xx does not come again.
import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'
import { faultOf, keyOf } from './signature.mjs'

const LARGEST = 64 * 1024 // bytes of a body; an event has less than 1,000

export function makeReceiver(secrets) {
  const keys = secrets.map(keyOf)
  const seen = new Set() // event ids; keep them for 8 days or longer
  const versions = new Map() // of each product

  function take(event) {
    if (seen.has(event.event_id)) {
      console.log(`duplicate: ${event.event_type} ${event.event_id}`)
      return
    }
    seen.add(event.event_id)
    const { product_id: product, quantity, version } = event.data
    if (product === undefined) {
      console.log(event.event_type) // a ping, or a type that is newer than this program
    } else if (version < (versions.get(product) ?? 0)) {
      // Events of one change have one version: an equal one is not older.
      console.log(`older: ${event.event_type} ${product}`)
    } else {
      versions.set(product, version)
      console.log(`${event.event_type} ${product} ${quantity}`)
    }
  }

  async function statusOf(request) {
    if (request.method !== 'POST' || request.url !== '/hooks/stock') return 404
    const body = await bodyOf(request)
    if (body === null) return 413
    const fault = faultOf(keys, request.headers, body)
    if (fault) {
      console.log(`refused: ${fault}`)
      return 401
    }
    take(JSON.parse(body.toString('utf8')))
    return 204
  }

  return createServer(async (request, response) => {
    try {
      response.writeHead(await statusOf(request)).end()
    } catch (error) {
      console.error(error)
      response.destroy() // no answer is a failed attempt: the event comes again
    }
  })
}

async function bodyOf(request) {
  const parts = []
  let size = 0
  for await (const part of request) {
    size += part.length
    if (size <= LARGEST) parts.push(part)
  }
  return size <= LARGEST ? Buffer.concat(parts) : null
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { PORT = '9000', WEBHOOK_SECRET, WEBHOOK_SECRET_NEXT } = process.env
  if (!WEBHOOK_SECRET) throw new Error('set WEBHOOK_SECRET')
  const server = makeReceiver([WEBHOOK_SECRET, WEBHOOK_SECRET_NEXT].filter(Boolean))
  server.listen(Number(PORT), '127.0.0.1', () => {
    console.log(`listening on port ${server.address().port}`)
  })
}
