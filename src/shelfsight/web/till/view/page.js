/**
 * Return the element with this id; the page and its scripts are shipped together, so it is there.
 *
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function element(id, type) {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} with the id ${id}`)
  return found
}

/**
 * @param {ParentNode} parent
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function part(parent, selector) {
  return partOf(parent, selector, HTMLElement)
}

/**
 * @template {Element} T
 * @param {ParentNode} parent
 * @param {string} selector
 * @param {new () => T} type
 * @returns {T}
 */
export function partOf(parent, selector, type) {
  const found = parent.querySelector(selector)
  if (!(found instanceof type)) throw new Error(`the page has no ${selector}`)
  return found
}

/**
 * Do something when a button is pressed.
 *
 * @param {string} id
 * @param {(event: Event) => void} work
 * @returns {HTMLButtonElement}
 */
export function onPress(id, work) {
  const button = element(id, HTMLButtonElement)
  button.addEventListener('click', work)
  return button
}

/**
 * Show names and values as the rows of a list.
 *
 * @param {HTMLElement} list
 * @param {readonly (readonly [name: string, value: string])[]} rows
 */
export function fillFacts(list, rows) {
  const nodes = rows.flatMap(([name, value]) => [textNode('dt', name), textNode('dd', value)])
  list.replaceChildren(...nodes)
}

/**
 * @param {string} tag
 * @param {string} text
 * @param {string} [className]
 */
export function textNode(tag, text, className = '') {
  const node = document.createElement(tag)
  node.textContent = text
  node.className = className
  return node
}

/**
 * Close a dialog when somebody taps beside it.
 *
 * @param {HTMLDialogElement} dialog
 */
export function closeByBackdrop(dialog) {
  dialog.addEventListener('click', ({ clientX, clientY, target }) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect()
    const isInside = clientX >= left && clientX <= right && clientY >= top && clientY <= bottom
    if (target === dialog && !isInside) dialog.close()
  })
}

/**
 * Say on all of the page which shop it is.
 *
 * @param {string} channel id
 * @param {string | null} name null: the server has not said it yet
 */
export function showShop(channel, name) {
  element('shop', HTMLElement).textContent = name ?? channel
  element('login-title', HTMLElement).textContent = name === null ? 'Log in' : `Log in to ${name}`
  element('login-where', HTMLElement).hidden = name !== null
  document.title = `${name ?? channel} – Till`
  document.querySelector('meta[name="apple-mobile-web-app-title"]')?.setAttribute('content', `Till ${name ?? channel}`)
}

/** @returns {boolean} whether the basket lies below what can be seen */
export function isNarrow() {
  return !matchMedia('(min-width: 46rem) and (min-height: 30rem)').matches
}
