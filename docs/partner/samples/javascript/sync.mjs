// Keeps a table of your products up to date by what has changed; run it every minute or hour.
//
// The table is a file here. In a real program it is a table of your database, and the rows of a
// page and its cursor are written in one transaction.
import { readFile, rename, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { ApiError, fromEnvironment } from './client.mjs'

export class DeltaSync {
  /**
   * @param {InventoryClient} client
   * @param {string} file where the table and the cursor are kept
   * @param {string[]} listed the ids of the products that you list
   * @param {number} oldest how old an answer can be, in seconds: 30, by the contract
   */
  constructor(client, file, listed, oldest = 30) {
    Object.assign(this, { client, file, listed: new Set(listed), oldest })
    // product id -> { quantity, version }; a removed one has the quantity null. A Map, because an
    // object takes some ids, such as `__proto__`, for its own parts.
    this.rows = new Map()
    this.cursor = undefined
  }

  /** Brings the table up to date. Returns how many rows it changed. */
  async sync() {
    await this.#read()
    if (this.cursor === undefined) return this.#start()
    try {
      return await this.#follow()
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'CURSOR_EXPIRED') throw error
      this.rows.clear() // the versions that we hold may be of another database
      return this.#start()
    }
  }

  async #start() {
    const { next_cursor: from } = await this.client.changes()
    await sleep(this.oldest * 1000) // what we read now is no older than the cursor
    const { items } = await this.client.stock(this.listed)
    const changed = this.#takeAll(items)
    this.cursor = from
    await this.#write()
    return changed + (await this.#follow())
  }

  async #follow() {
    let changed = 0
    let page
    do {
      page = await this.client.changes(this.cursor)
      changed += this.#takeAll(page.items)
      changed += this.#takeAll(page.removed.map((each) => ({ ...each, quantity: null })))
      this.cursor = page.next_cursor
      await this.#write()
    } while (page.has_more)
    return changed
  }

  /** Takes what is newer than what we hold; the same may be told twice. */
  #takeAll(items) {
    let changed = 0
    for (const { product_id: id, quantity, version } of items) {
      if (!this.listed.has(id) || this.rows.get(id)?.version >= version) continue
      this.rows.set(id, { quantity, version })
      changed += 1
    }
    return changed
  }

  async #read() {
    try {
      const { cursor, rows } = JSON.parse(await readFile(this.file, 'utf8'))
      this.cursor = cursor
      this.rows = new Map(Object.entries(rows))
    } catch (error) {
      if (error.code !== 'ENOENT') throw error
    }
  }

  async #write() {
    const kept = { cursor: this.cursor, rows: Object.fromEntries(this.rows) }
    await writeFile(`${this.file}.next`, JSON.stringify(kept, null, 1))
    await rename(`${this.file}.next`, this.file)
  }
}

// Syncs once: the first argument is the file, the others are the products that you list.
if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [file, ...listed] = process.argv.slice(2)
  const oldest = Number(process.env.OLDEST_SECONDS ?? 30)
  const changed = await new DeltaSync(fromEnvironment(), file, listed, oldest).sync()
  console.log(`products changed: ${changed}`)
}
