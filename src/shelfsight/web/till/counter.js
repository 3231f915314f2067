import { DownloadError, LoginError, openClient } from './client.js'
import { totalsIn } from './core/basket.js'
import { amountsText } from './core/money.js'
import { countWords } from './core/sentences.js'
import { priced } from './core/words.js'
import { BasketPanel } from './view/basket.js'
import { Notices } from './view/notices.js'
import { element, isNarrow, onPress, showShop } from './view/page.js'
import { Recognising } from './view/recognising.js'
import { Sales } from './view/sales.js'
import { Scanner } from './view/scanner.js'
import { NO_LIST, SearchDialog } from './view/search.js'
import { Settings } from './view/settings.js'

/**
 * @typedef {import('@shelfsight/client').Client} Client
 * @typedef {import('@shelfsight/client').Product} Product
 * @typedef {import('@shelfsight/client').ProductList} ProductList
 * @typedef {import('@shelfsight/client').State} State
 * @typedef {import('./core/basket.js').Basket} Basket
 * @typedef {import('./core/offers.js').Offers} Offers
 * @typedef {import('./core/pairing.js').Pairing} Pairing
 * @typedef {import('./view/kept.js').Kept} Kept
 */

const LIST_EVERY_MS = 10 * 60 * 1_000
const SEARCH = { title: 'Search products', hint: 'In the list on this device: it works without a network.' }
const CORRECTION = { title: 'Which product is it?', hint: 'What you choose goes into the basket, and is reported as a correction.' }

/** The till of a channel: puts together what the page shows and what the client knows. */
export class Counter {
  #channel
  #kept
  #onLogout
  #notices = new Notices()
  #basket
  #recognising
  #search
  #settings
  #sales = /** @type {Sales | null} */ (null)
  #ending = new AbortController()
  /** @type {Client | null} */
  client = null
  #list = /** @type {ProductList | null} */ (null)
  /** @type {ReadonlyMap<string, Product>} */
  #products = new Map()

  /**
   * @param {string} channel
   * @param {Kept} kept
   * @param {(words: string) => void} onLogout
   */
  constructor(channel, kept, onLogout) {
    this.#channel = channel
    this.#kept = kept
    this.#onLogout = onLogout
    this.#basket = new BasketPanel(kept, this.#notices, () => this.#sales?.forgetProblem())
    this.#recognising = new Recognising(this.#notices, {
      productsOf: () => this.#list && this.#products,
      onChoose: ({ product }, offers) => this.#choose(product, offers),
      onAnother: (offers) => this.#correct(offers),
      onCamera: (isOn) => (kept.wantsCamera = isOn),
    })
    this.#search = new SearchDialog(() => this.#list?.search ?? null)
    this.#settings = new Settings(this)
    this.#listen()
  }

  /**
   * Begin with what is on the device, and look for news beside it.
   *
   * @param {Pairing} pairing
   */
  async open({ token, keys }) {
    document.body.dataset.view = 'counter'
    element('login-notice', HTMLElement).hidden = true
    const { signal } = (this.#ending = new AbortController())
    this.#basket.render()
    const version = document.body.dataset.version
    const options = { serverUrl: location.origin, channel: this.#channel, token, trustedKeys: keys, appVersion: version }
    const onState = (/** @type {State} */ state) => signal.aborted || this.#onState(state)
    try {
      const client = await openClient({ ...options, onState, onSales: () => this.#sales?.look() })
      if (signal.aborted) return client.close()
      await this.#begin(client)
    } catch (error) {
      if (!signal.aborted) this.#recognising.showFailure(error)
    }
  }

  /** End it; what is kept stays. */
  close() {
    this.#ending.abort()
    this.client?.close()
    this.#forget()
  }

  /** Look for a newer recogniser, and for newer products. */
  async refresh() {
    await Promise.all([this.client?.sync(), this.#refreshProducts()])
  }

  /** Empty the cache, and begin anew. */
  async clear() {
    const { words = '' } = (await this.client?.clear()) ?? {}
    this.#list = null
    this.#products = new Map()
    this.#notices.show(words)
    await this.#refreshProducts()
  }

  /** Forget who this device is. */
  async logOut() {
    this.#ending.abort()
    const { words = '' } = (await this.client?.logout()) ?? {}
    this.#kept.pairing = null
    this.#kept.basket = null
    this.#kept.shop = null
    showShop(this.#channel, null)
    this.#forget()
    this.#onLogout(words)
  }

  /**
   * @param {string} kept how far the page is kept on the device
   * @returns {import('./core/diagnostics.js').PageFacts}
   */
  facts(kept) {
    const { version = '', build = '' } = document.body.dataset
    return {
      channel: this.#channel,
      shop: this.#kept.shop ?? this.#channel,
      version,
      build,
      kept,
      device: this.#kept.deviceName,
      products: this.#list?.products.length ?? null,
      productsAt: this.#list?.at ?? null,
      trainedAt: this.#recognising.trainedAt,
      latencyMs: this.#recognising.latencyMs,
      browser: navigator.userAgent,
      isOnline: navigator.onLine,
    }
  }

  #listen() {
    onPress('checkout', () => this.#checkOut())
    onPress('retry', () => this.#retry())
    for (const id of ['open-search', 'search-instead']) onPress(id, () => this.#look())
    new Scanner(() => document.body.dataset.view === 'counter', (code) => this.#onScan(code))
    addEventListener('keydown', (event) => this.#onKey(event))
    for (const change of ['online', 'offline']) addEventListener(change, () => this.client && this.#onState(this.client.state))
    addEventListener('online', () => this.#refreshProducts())
    document.addEventListener('visibilitychange', () => document.hidden || this.#refreshProducts())
    setInterval(() => document.hidden || this.#refreshProducts(), LIST_EVERY_MS)
  }

  /** @param {Client} client */
  async #begin(client) {
    this.client = client
    this.#openSales(client)
    const { basket } = this.#basket
    if (await this.#sales?.isSold(basket.id)) this.#basket.finish(basket)
    await this.#refreshProducts({ cachedOnly: true })
    this.#recognising.open(client)
    void this.#refreshProducts()
    if (this.#kept.wantsCamera) void this.#recognising.startIfAllowed()
  }

  /** @param {Client} client */
  #openSales(client) {
    const listeners = {
      onPutBack: (/** @type {any} */ sale, /** @type {(id: string) => string} */ nameOf) => this.#basket.putBack(sale, nameOf),
      onRefused: () => void this.#refreshProducts(),
      // What sales come to know of the network is news for the recogniser, too.
      onReach: (/** @type {boolean} */ isReached) => {
        if (isReached === (client.state.name === 'offline')) void client.sync()
      },
    }
    this.#sales = new Sales(client, this.#kept, listeners, this.#ending.signal)
  }

  /** @param {State} state */
  #onState(state) {
    this.#recognising.show(state)
    void this.#settings.render()
    if (state.name === 'ready') this.client?.salesQueue.wake().catch(() => {}) // the server answers: so may it to sales
  }

  async #retry() {
    if (!this.client) return location.reload()
    this.#recognising.forgetFailure()
    await this.refresh()
    this.#recognising.show(this.client.state)
  }

  /** @param {{ cachedOnly?: boolean }} [options] */
  async #refreshProducts(options) {
    try {
      const list = (await this.client?.productList(options)) ?? null
      if (!list || list === this.#list || this.#ending.signal.aborted) return
      const isFirst = this.#list === null
      this.#list = list
      this.#showName(list.name ?? null)
      this.#products = new Map(list.products.map((product) => [product.id, product]))
      this.#search.refresh()
      if (isFirst) await this.#recognising.judgeAgain()
    } catch (error) {
      if (error instanceof LoginError) this.#showLogin()
      else if (!(error instanceof DownloadError) && !this.#ending.signal.aborted) throw error
    }
  }

  /** @param {string | null} name */
  #showName(name) {
    this.#kept.shop = name
    showShop(this.#channel, name)
  }

  #showLogin() {
    const words = 'This till’s pairing link is not valid any more: log in with a new one. What is here goes on.'
    element('login-notice-words', HTMLElement).textContent = words
    element('login-notice', HTMLElement).hidden = false
  }

  /**
   * @param {Product} product
   * @param {Offers} offers
   */
  #choose(product, offers) {
    if (!this.#add(product)) return false
    this.#reportIfWrong(offers, product)
    return true
  }

  /** @param {Offers} offers */
  async #correct(offers) {
    const proposals = offers.offers.slice(offers.known ? 1 : 0).map(({ product }) => product)
    const product = await this.#search.choose({ ...CORRECTION, proposals })
    if (product) this.#choose(product, offers)
  }

  /**
   * Report that the answer was another product. Where it only asked it has claimed nothing, so nothing was wrong.
   *
   * @param {Offers} offers
   * @param {Product} product
   */
  #reportIfWrong({ known, offers: [best] }, product) {
    if (!known || !best || best.product.id === product.id) return
    void this.client?.correct({ from: best.product.id, to: product.id, confidence: best.confidence })
  }

  /** @param {string} [query] */
  async #look(query) {
    const product = await this.#search.choose({ ...SEARCH, query })
    if (product) this.#addAndSay(product)
  }

  /** @param {Product} product */
  #add(product) {
    const isIn = this.#basket.add(product)
    if (isIn) this.#notices.say(`${product.name || product.id} is in the basket`)
    return isIn
  }

  /** @param {Product} product */
  #addAndSay(product) {
    if (!this.#add(product)) return
    const words = [product.name || product.id, priced(product, navigator.language)].filter(Boolean).join(', ')
    this.#notices.show(`Added: ${words}`)
  }

  /** @param {string} code that a scanner has typed */
  #onScan(code) {
    if (element('ask', HTMLDialogElement).open) return
    for (const id of ['settings', 'sales']) element(id, HTMLDialogElement).close()
    const product = this.#list?.search.byCode(code) ?? null
    if (this.#search.isOpen) return product ? this.#search.take(product) : this.#search.lookFor(code)
    if (product) return this.#addAndSay(product)
    navigator.vibrate?.(120)
    const several = this.#list?.search.find(code, { limit: 2 }) ?? []
    if (several.length > 0) return void this.#look(code)
    this.#notices.show(this.#list ? `No product has the code ${code}.` : NO_LIST, { tone: 'bad' })
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const { key, ctrlKey, metaKey, target } = event
    const isSearch = (key === '/' && !ctrlKey && !metaKey) || (key.toLowerCase() === 'k' && (ctrlKey || metaKey))
    const isTyping = target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement
    const isElsewhere = document.body.dataset.view !== 'counter' || document.querySelector('dialog[open]') !== null
    if (!isSearch || isElsewhere || (isTyping && key === '/')) return
    event.preventDefault()
    void this.#look()
  }

  async #checkOut() {
    const { basket } = this.#basket
    const button = element('checkout', HTMLButtonElement)
    if (basket.lines.length === 0 || !this.#sales) return
    button.disabled = true // the same button twice is one sale
    const facts = { device: this.#kept.deviceName, modelVersion: this.#recognising.version }
    const isSafe = await this.#sales.record(basket, facts)
    button.disabled = false
    if (isSafe) this.#finish(basket)
  }

  /** @param {Basket} sold */
  #finish(sold) {
    const { totals } = totalsIn(sold)
    const count = sold.lines.length
    this.#basket.finish(sold)
    this.#basket.showSold()
    void this.#sales?.showSold(sold.id, totals, count)
    element('sold-words', HTMLElement).focus({ preventScroll: true })
    const words = ['Sale recorded', countWords(count, 'product'), amountsText(totals, navigator.language)]
    const said = words.filter(Boolean).join(', ')
    this.#notices.say(said)
    if (isNarrow()) scrollTo({ top: 0 })
  }

  #forget() {
    this.#recognising.close()
    this.client = this.#sales = this.#list = null
    this.#products = new Map()
    for (const dialog of document.querySelectorAll('dialog')) dialog.close()
  }
}
