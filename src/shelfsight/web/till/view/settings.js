import { deviceFacts, diagnosticsText, shopFacts } from '../core/diagnostics.js'
import { leaveWords } from '../core/sentences.js'
import { ask } from './ask.js'
import { closeByBackdrop, element, fillFacts, onPress } from './page.js'
import { keptWords } from './updates.js'

/**
 * @typedef {import('@shelfsight/client').Client} Client
 * @typedef {import('../core/diagnostics.js').PageFacts} PageFacts
 *
 * @typedef {object} Till what the settings are of
 * @property {Client | null} client
 * @property {(kept: string) => PageFacts} facts
 * @property {() => Promise<void>} refresh looks for a newer recogniser, and newer products
 * @property {() => Promise<void>} clear
 * @property {() => Promise<void>} logOut
 */

/** How the till does, and what can be done about it. */
export class Settings {
  #dialog = element('settings', HTMLDialogElement)
  #till
  #installing = /** @type {{ prompt: () => Promise<unknown> } | null} */ (null)

  /** @param {Till} till */
  constructor(till) {
    this.#till = till
    onPress('open-settings', () => this.open())
    onPress('close-settings', () => this.#dialog.close())
    closeByBackdrop(this.#dialog)
    onPress('refresh', () => this.#refresh())
    onPress('copy', () => this.#copy())
    onPress('clear', () => this.#clear())
    onPress('log-out', () => this.#logOut())
    onPress('open-sales', () => this.#dialog.close())
    onPress('install', () => this.#install())
    addEventListener('beforeinstallprompt', (event) => {
      event.preventDefault()
      this.#installing = /** @type {any} */ (event)
      element('install', HTMLElement).hidden = false
    })
  }

  open() {
    if (!this.#dialog.open) this.#dialog.showModal()
    element('settings-title', HTMLElement).focus()
    this.#dialog.scrollTop = 0
    element('copied', HTMLElement).textContent = ''
    return this.render()
  }

  /** Show how things are now, if anybody looks. */
  async render() {
    const { client } = this.#till
    if (!this.#dialog.open || !client) return
    const [diagnostics, kept] = await Promise.all([client.diagnostics().catch(() => null), keptWords()])
    if (!diagnostics) return // it is closed
    const page = this.#till.facts(kept)
    element('model-words', HTMLElement).textContent = diagnostics.state.words
    fillFacts(element('shop-facts', HTMLElement), shopFacts(diagnostics, page, navigator.language))
    fillFacts(element('device-facts', HTMLElement), deviceFacts(diagnostics, page, navigator.language))
    element('diagnostics', HTMLElement).textContent = diagnosticsText(diagnostics, page, new Date())
    element('leave-words', HTMLElement).textContent = leaveWords(diagnostics.sales.waiting + diagnostics.sales.refused)
  }

  async #refresh() {
    const button = element('refresh', HTMLButtonElement)
    button.disabled = true
    element('model-words', HTMLElement).textContent = 'Looking …'
    await this.#till.refresh()
    button.disabled = false
    await this.render()
    button.focus()
  }

  async #copy() {
    const text = element('diagnostics', HTMLElement)
    const done = await navigator.clipboard.writeText(text.textContent ?? '').then(() => true, () => false)
    if (!done) getSelection()?.selectAllChildren(text)
    element('copied', HTMLElement).textContent = done ? 'Copied.' : 'Marked: copy it by hand.'
  }

  async #clear() {
    const words = 'The recogniser and the product list are removed, and downloaded anew. Basket and sales stay.'
    if (!(await ask({ title: 'Clear the cache?', words, yes: 'Clear' }))) return
    this.#dialog.close()
    await this.#till.clear()
  }

  async #logOut() {
    const outcome = await this.#till.client?.salesQueue.outcome()
    const words = leaveWords((outcome?.waiting ?? 0) + (outcome?.refused.length ?? 0))
    if (!(await ask({ title: 'Log out?', words, yes: 'Log out' }))) return
    this.#dialog.close()
    await this.#till.logOut()
  }

  async #install() {
    element('install', HTMLElement).hidden = true
    await this.#installing?.prompt()
  }
}
