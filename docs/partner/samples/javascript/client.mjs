// Asks for live stock: any number of products, in batches of 100.
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

const BATCH = 100 // products in a request
const FIRST_PAUSE = 500 // milliseconds
const LONGEST_PAUSE = 30_000
const PASSING = new Set([429, 500, 502, 503, 504]) // worth another try

/** An error answer. Decide by `code`; `requestId` finds the request in our log. */
export class ApiError extends Error {
  constructor(status, code, message, requestId) {
    super(`${status} ${code}: ${message} (request ${requestId})`)
    Object.assign(this, { status, code, requestId })
  }
}

export class InventoryClient {
  /**
   * @param {string} base such as https://sandbox-api.inventory.example
   * @param {string} key your key of this environment
   * @param {number} patience milliseconds for which one request may be waited for and tried
   *   again: minutes in a job, 0 while a customer waits for a page
   */
  constructor(base, key, patience) {
    Object.assign(this, { base, key, patience })
  }

  /** Returns { items, notFound } of any number of products. */
  async stock(productIds) {
    const ids = [...new Set(productIds)]
    const items = []
    const notFound = []
    for (let first = 0; first < ids.length; first += BATCH) {
      const answer = await this.#send('/partner/v1/inventory', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ product_ids: ids.slice(first, first + BATCH) }),
      })
      items.push(...answer.items)
      notFound.push(...answer.not_found)
    }
    return { items, notFound }
  }

  /** Returns what has changed since a cursor; without one, only the cursor to begin with. */
  changes(cursor) {
    const query = cursor === undefined ? '' : `?cursor=${encodeURIComponent(cursor)}`
    return this.#send(`/partner/v1/inventory/changes${query}`, {})
  }

  /** Sends a request until it is answered, is refused, or has taken too long. */
  async #send(path, options) {
    const giveUp = Date.now() + this.patience
    for (let attempt = 0; ; attempt += 1) {
      let failure
      let pause = growing(attempt)
      try {
        const answer = await fetch(this.base + path, {
          ...options,
          headers: { ...options.headers, 'X-API-Key': this.key },
          signal: AbortSignal.timeout(5_000),
        })
        if (answer.status === 200) return await answer.json()
        failure = await errorOf(answer)
        pause = Number(answer.headers.get('Retry-After')) * 1000 || pause // always in seconds
      } catch (error) {
        failure = error // not reached, or no answer in time; a query is safe to repeat
      }
      const refused = failure instanceof ApiError && !PASSING.has(failure.status)
      if (refused || Date.now() + pause > giveUp) throw failure
      const reason = failure.cause?.message ?? failure.message
      console.error(`${reason}; next try in ${Math.round(pause)} ms`)
      await sleep(pause)
    }
  }
}

/** 0.5 s, 1 s, 2 s and so on, each shorter by chance, so that not all come back together. */
function growing(attempt) {
  return Math.min(FIRST_PAUSE * 2 ** attempt, LONGEST_PAUSE) * (0.5 + Math.random() / 2)
}

async function errorOf(answer) {
  const requestId = answer.headers.get('X-Request-ID')
  try {
    const { code, message } = await answer.json()
    return new ApiError(answer.status, code, message, requestId)
  } catch {
    return new ApiError(answer.status, 'UNKNOWN', 'not our error', requestId) // of a proxy
  }
}

/** Returns a client of INVENTORY_URL with INVENTORY_KEY, as patient as a job may be. */
export function fromEnvironment() {
  const { INVENTORY_URL, INVENTORY_KEY } = process.env
  if (!INVENTORY_URL || !INVENTORY_KEY) throw new Error('set INVENTORY_URL and INVENTORY_KEY')
  return new InventoryClient(INVENTORY_URL, INVENTORY_KEY, 120_000)
}

// Prints the stock of the products that are named.
if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { items, notFound } = await fromEnvironment().stock(process.argv.slice(2))
  for (const item of items) console.log(`${item.product_id} ${item.quantity} ${item.status}`)
  for (const id of notFound) console.log(`${id} is not known`)
}
