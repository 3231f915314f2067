import { Counter } from './counter.js'
import { readFragment } from './core/pairing.js'
import { Kept } from './view/kept.js'
import { LoginPage, refusalOf } from './view/login.js'
import { element, onPress, showShop } from './view/page.js'
import { keepPage } from './view/updates.js'

/** @typedef {import('./core/pairing.js').Pairing} Pairing */

const { channel = '' } = document.body.dataset
const kept = new Kept(channel)
const STAYS = 'This till stays logged in as it was: load the page again to go on with it.'

/**
 * Return what the address says of a pairing, and take it out of there: it is a secret.
 *
 * @returns {Pairing | { problem: string } | null}
 */
function takePairing() {
  const pairing = readFragment(location.hash)
  if (pairing) history.replaceState(null, '', location.pathname + location.search)
  return pairing
}

function showInsecure() {
  const { host, pathname, hash } = location
  document.body.dataset.view = 'insecure'
  element('insecure-address', HTMLElement).textContent = `http://${host}`
  element('secure-address', HTMLAnchorElement).href = `https://${host}${pathname}${hash}`
  takePairing()
}

function start() {
  showShop(channel, kept.shop)
  const login = new LoginPage((link) => {
    if (link.channel === channel) return void tryLink(link)
    location.assign(`/till/${link.channel}#token=${link.token}&keys=${link.keys.join()}`)
  })
  const counter = new Counter(channel, kept, (words) => login.show(words))

  /** @param {Pairing} pairing */
  const open = ({ token, keys }) => {
    login.close()
    counter.close()
    kept.pairing = { token, keys }
    void counter.open({ token, keys })
  }

  /** @param {Pairing} pairing that somebody has just opened or typed: a wrong one takes the place of none */
  const tryLink = async (pairing) => {
    const problem = await refusalOf(channel, pairing.token)
    if (problem === null) return open(pairing)
    await login.show(kept.pairing ? STAYS : '', problem)
  }

  const begin = () => {
    const pairing = takePairing()
    if (pairing && 'problem' in pairing) void login.show(kept.pairing ? STAYS : '', pairing.problem)
    else if (pairing) void tryLink(pairing)
    else if (kept.pairing) open(kept.pairing)
    else void login.show('')
  }
  begin()
  addEventListener('hashchange', () => location.hash.includes('token=') && begin()) // a link opened in this very tab
  for (const id of ['log-in-again', 'log-in-instead']) onPress(id, () => login.show('What is on this device stays.'))
  kept.listen((name) => {
    if (name !== 'pairing' || kept.pairing) return
    counter.close()
    showShop(channel, null)
    void login.show('This device was logged out in another tab.')
  })
}

function listenForUpdates() {
  const notice = element('update-notice', HTMLElement)
  onPress('later-update', () => (notice.hidden = true))
  void keepPage(channel, (take) => {
    notice.hidden = false
    element('update-words', HTMLElement).textContent = 'Update ready'
    element('use-update', HTMLElement).addEventListener('click', take, { once: true })
  })
}

if (window.isSecureContext) {
  start()
  listenForUpdates()
} else {
  showInsecure()
}
