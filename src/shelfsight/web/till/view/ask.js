import { element } from './page.js'

/**
 * Return whether somebody says yes.
 *
 * @param {{ title: string, words: string, yes: string }} question
 * @returns {Promise<boolean>}
 */
export function ask({ title, words, yes }) {
  const dialog = element('ask', HTMLDialogElement)
  element('ask-title', HTMLElement).textContent = title
  element('ask-words', HTMLElement).textContent = words
  element('ask-yes', HTMLElement).textContent = yes
  dialog.returnValue = ''
  dialog.showModal()
  element('ask-no', HTMLElement).focus()
  const end = new AbortController()
  const { signal } = end
  return new Promise((resolve) => {
    element('ask-yes', HTMLElement).addEventListener('click', () => dialog.close('yes'), { signal })
    element('ask-no', HTMLElement).addEventListener('click', () => dialog.close(), { signal })
    dialog.addEventListener('close', () => {
      end.abort()
      resolve(dialog.returnValue === 'yes')
    }, { signal })
  })
}
