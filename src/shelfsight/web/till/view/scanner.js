import { NO_BURST, afterKey } from '../core/scanning.js'

/** Hears a scanner that types, wherever the keyboard's focus is, and takes back what it has typed into a field. */
export class Scanner {
  #isActive
  #burst = NO_BURST
  #field = /** @type {HTMLInputElement | HTMLTextAreaElement | null} */ (null)
  #before = ''

  /**
   * @param {() => boolean} isActive whether a code can be anything but text
   * @param {(code: string) => void} onScan
   */
  constructor(isActive, onScan) {
    this.#isActive = isActive
    // Before anybody else: the Enter of a scanner presses no button.
    addEventListener('keydown', (event) => this.#onKey(event, onScan), { capture: true })
  }

  /**
   * @param {KeyboardEvent} event
   * @param {(code: string) => void} onScan
   */
  #onKey(event, onScan) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !this.#isActive()) return
    const { after, code } = afterKey(this.#burst, event.key, event.timeStamp)
    if (after.text.length === 1) this.#remember(event.target)
    this.#burst = after
    if (event.key === ' ' && after.text.length > 1 && !this.#field) event.preventDefault() // nor does its space
    if (code === null) return
    event.preventDefault()
    event.stopImmediatePropagation()
    this.#restore()
    onScan(code)
  }

  /** @param {EventTarget | null} target */
  #remember(target) {
    const isField = target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement
    this.#field = isField ? target : null
    this.#before = isField ? target.value : ''
  }

  #restore() {
    if (!this.#field) return
    this.#field.value = this.#before
    this.#field.dispatchEvent(new InputEvent('input', { bubbles: true }))
    this.#field = null
  }
}
