import { DownloadError, LoginError, NoModelError, openClient } from './client.js'
import { totalsIn } from './core/basket.js'
import { amountsText } from './core/money.js'
import { offersFor } from './core/offers.js'
import { countWords } from './core/sentences.js'
import { failure, priced } from './core/words.js'
import { Answers, OFFERS } from './view/answers.js'
import { BasketPanel } from './view/basket.js'
import { Notices } from './view/notices.js'
import { element, isNarrow, onPress } from './view/page.js'
import { Sales } from './view/sales.js'
import { Scanner } from './view/scanner.js'
import { SearchDialog } from './view/search.js'
import { Settings } from './view/settings.js'
import { StatusPanel } from './view/status.js'
import { Viewfinder } from './view/viewfinder.js'

/**
 * @typedef {import('@shelfsight/client').Client} Client
 * @typedef {import('@shelfsight/client').LiveRecogniser} LiveRecogniser
 * @typedef {import('@shelfsight/client').Product} Product
 * @typedef {import('@shelfsight/client').ProductList} ProductList
 * @typedef {import('@shelfsight/client').State} State
 * @typedef {import('./core/basket.js').Basket} Basket
 * @typedef {import('./core/offers.js').Offer} Offer
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
  #status = new StatusPanel()
  #basket
  #answers
  #viewfinder
  #search
  #settings
  #sales = /** @type {Sales | null} */ (null)
  #ending = new AbortController()
  /** @type {Client | null} */
  client = null
  #recogniser = /** @type {LiveRecogniser | null} */ (null)
  #loading = /** @type {Promise<void> | null} */ (null)
  #loadFailure = /** @type {string | null} */ (null)
  #list = /** @type {ProductList | null} */ (null)
  /** @type {ReadonlyMap<string, Product>} */
  #products = new Map()
  #latencyMs = /** @type {number | null} */ (null)

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
    this.#answers = new Answers(this.#notices, {
      onChoose: (offer, offers) => this.#choose(offer, offers),
      onAnother: (offers) => this.#correct(offers),
    })
    this.#viewfinder = new Viewfinder({
      judge: (picture, signal) => this.#judge(picture, signal),
      onGone: () => this.#answers.clear(),
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
    this.#ending = new AbortController()
    this.#basket.render()
    const version = document.body.dataset.version
    const options = { serverUrl: location.origin, channel: this.#channel, token, trustedKeys: keys, appVersion: version }
    try {
      this.client = await openClient({ ...options, onState: (state) => this.#onState(state) })
    } catch (error) {
      return this.#failToOpen(error)
    }
    this.#openSales(this.client)
    if (await this.#sales?.isSold(this.#basket.basket.id)) this.#basket.renew()
    await this.#refreshProducts({ cachedOnly: true })
    this.#onState(this.client.state)
    void this.#refreshProducts()
    if (this.#kept.wantsCamera) void this.#viewfinder.startIfAllowed()
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
    if (this.#loadFailure !== null) await this.#load()
  }

  /** Empty the cache, and begin anew. */
  async clear() {
    const { words = '' } = (await this.client?.clear()) ?? {}
    this.#recogniser = null
    this.#list = null
    this.#products = new Map()
    this.#answers.clear()
    this.#notices.show(words)
    void this.#refreshProducts()
    return words
  }

  /** Forget who this device is. */
  async logOut() {
    this.#ending.abort()
    const { words = '' } = (await this.client?.logout()) ?? {}
    this.#kept.pairing = null
    this.#kept.basket = null
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
      version,
      build,
      kept,
      device: this.#kept.deviceName,
      products: this.#list?.products.length ?? null,
      productsAt: this.#list?.at ?? null,
      trainedAt: this.#recogniser?.metadata?.trainedAt ?? null,
      latencyMs: this.#latencyMs,
      browser: navigator.userAgent,
      isOnline: navigator.onLine,
    }
  }

  #listen() {
    onPress('checkout', () => this.#checkOut())
    onPress('retry', () => this.#retry())
    for (const id of ['open-search', 'search-instead']) onPress(id, () => this.#look())
    new Scanner((code) => this.#onScan(code))
    addEventListener('keydown', (event) => this.#onKey(event))
    for (const change of ['online', 'offline']) addEventListener(change, () => this.client && this.#onState(this.client.state))
    addEventListener('online', () => this.#refreshProducts())
    setInterval(() => document.hidden || this.#refreshProducts(), LIST_EVERY_MS)
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

  /** @param {unknown} error */
  #failToOpen(error) {
    this.#loadFailure = failure(error)
    this.#status.show({ name: 'error', words: '', version: null }, { isLoaded: false, loadFailure: this.#loadFailure })
  }

  /** @param {State} state */
  #onState(state) {
    if (this.#ending.signal.aborted) return
    if (state.version === null) this.#recogniser = null
    const isLoaded = this.#recogniser !== null
    this.#status.show(state, { isLoaded, loadFailure: this.#loadFailure })
    void this.#settings.render()
    if (state.name === 'ready') this.client?.salesQueue.wake().catch(() => {}) // the server answers: so may it to sales
    if (state.version !== null && !isLoaded && this.#loadFailure === null) void this.#load()
  }

  /** Load the recogniser that is on the device, once. */
  #load() {
    this.#loading ??= this.#loadNow().finally(() => (this.#loading = null))
    return this.#loading
  }

  async #loadNow() {
    const { client } = this
    this.#loadFailure = null
    try {
      const recogniser = await client?.load()
      if (recogniser && client === this.client) this.#recogniser = recogniser
    } catch (error) {
      if (!(error instanceof NoModelError)) this.#loadFailure = failure(error)
    }
    if (client) this.#onState(client.state)
    await this.#viewfinder.judgeAgain()
  }

  async #retry() {
    this.#loadFailure = null
    if (!this.client) return location.reload()
    this.#onState({ ...this.client.state, name: 'downloading', words: 'Trying again …' })
    await this.refresh()
    this.#onState(this.client.state)
  }

  /** @param {{ cachedOnly?: boolean }} [options] */
  async #refreshProducts(options) {
    try {
      const list = (await this.client?.productList(options)) ?? null
      if (!list || list === this.#list) return
      this.#list = list
      this.#products = new Map(list.products.map((product) => [product.id, product]))
      this.#search.refresh()
    } catch (error) {
      if (error instanceof LoginError) this.#showLogin()
      else if (!(error instanceof DownloadError) && !this.#ending.signal.aborted) throw error
    }
  }

  #showLogin() {
    const words = 'The server does not take this device’s token any more. What is here goes on.'
    element('login-notice-words', HTMLElement).textContent = words
    element('login-notice', HTMLElement).hidden = false
  }

  /**
   * @param {HTMLImageElement | HTMLVideoElement} picture
   * @param {AbortSignal} signal
   */
  async #judge(picture, signal) {
    const recogniser = this.#recogniser
    if (!recogniser || !this.#list) return
    const isLive = picture instanceof HTMLVideoElement
    try {
      const answer = await recogniser.recognise(picture, { top: recogniser.metadata?.labels.length, isLive })
      if (signal.aborted) return
      this.#latencyMs = answer.latencyMs
      this.#answers.show(offersFor(answer, this.#products, OFFERS), { isLive })
    } catch (error) {
      if (signal.aborted || error instanceof NoModelError) return // it is being cleared
      this.#viewfinder.clear()
      this.#recogniser = null
      this.#loadFailure = failure(error)
      if (this.client) this.#onState(this.client.state)
    }
  }

  /**
   * @param {Offer} offer
   * @param {Offers} offers
   */
  #choose({ product }, offers) {
    if (!this.#add(product)) return false
    this.#reportIfWrong(offers, product)
    return true
  }

  /** @param {Offers} offers */
  async #correct(offers) {
    const proposals = offers.offers.slice(offers.known ? 1 : 0).map(({ product }) => product)
    const product = await this.#search.choose({ ...CORRECTION, proposals })
    if (product && this.#add(product)) this.#reportIfWrong(offers, product)
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
    if (document.body.dataset.view !== 'counter' || element('ask', HTMLDialogElement).open) return
    for (const id of ['settings', 'sales']) element(id, HTMLDialogElement).close()
    const product = this.#list?.search.byCode(code) ?? null
    if (this.#search.isOpen) return product ? this.#search.take(product) : this.#search.lookFor(code)
    if (product) return this.#addAndSay(product)
    navigator.vibrate?.(120)
    const several = this.#list?.search.find(code, { limit: 2 }) ?? []
    if (several.length > 0) return void this.#look(code)
    this.#notices.show(`No product has the code ${code}.`, { tone: 'bad' })
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
    const facts = { device: this.#kept.deviceName, modelVersion: this.#recogniser?.version ?? null }
    const isSafe = await this.#sales.record(basket, facts)
    button.disabled = false
    if (isSafe) this.#finish(basket)
  }

  /** @param {Basket} sold */
  #finish(sold) {
    const { totals } = totalsIn(sold)
    const count = sold.lines.length
    this.#basket.renew()
    element('basket', HTMLElement).dataset.state = 'sold'
    void this.#sales?.showSold(sold.id, totals, count)
    element('sold-words', HTMLElement).focus({ preventScroll: true })
    const words = ['Sale recorded', countWords(count, 'product'), amountsText(totals, navigator.language)]
    const said = words.filter(Boolean).join(', ')
    if (!isNarrow()) return this.#notices.say(said)
    scrollTo({ top: 0 })
    this.#notices.show(said)
  }

  #forget() {
    this.#viewfinder.clear()
    this.client = this.#sales = this.#recogniser = this.#list = null
    this.#loadFailure = null
    this.#products = new Map()
    for (const dialog of document.querySelectorAll('dialog')) dialog.close()
  }
}
