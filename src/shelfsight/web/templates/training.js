// Shows how far the training of a channel is. Everything else, words of the outcome too, comes from the server's page.

/** @typedef {{status: string, stage: string, done: number, total: number, etaSeconds: number | null, cancelledAt: string | null}} Training */

const PARTS = ["facts", "now", "versions", "history"]
const AGAIN_AFTER_MS = 5000
const number = new Intl.NumberFormat("en")

/** Follow the training that the page shows, if one has not ended. */
const follow = () => {
  const shown = document.getElementById("progress")
  if (!shown?.dataset.events) return
  const { events, status } = shown.dataset
  const source = new EventSource(events)
  source.addEventListener("progress", (event) => {
    const training = /** @type {Training} */ (JSON.parse(event.data))
    if (training.status === status) {
      show(shown, training)
    } else {
      source.close() // else it would ask again, for ever
      renew()
    }
  })
  source.addEventListener("error", () => {
    // A lost connection is taken up by the browser; a refusal is not.
    if (source.readyState === EventSource.CLOSED) setTimeout(renew, AGAIN_AFTER_MS)
  })
}

/**
 * @param {HTMLElement} shown
 * @param {Training} training
 */
const show = (shown, training) => {
  const { stage, done, total, etaSeconds, cancelledAt } = training
  const bar = shown.querySelector("progress")
  if (!bar) return
  if (total) {
    bar.max = total
    bar.value = done
  } else {
    bar.removeAttribute("value")
  }
  say(cancelledAt ? "Being cancelled." : `Training: ${stage || "starting"}.`)
  write(shown.querySelector("[data-counts]"), total ? `${number.format(done)} of ${number.format(total)}` : "")
  write(shown.querySelector("[data-left]"), left(etaSeconds))
}

/**
 * In the words of the server's page.
 * @param {number | null} seconds
 */
const left = (seconds) => {
  if (seconds === null) return ""
  return seconds < 100 ? `about ${seconds} s left` : `about ${Math.round(seconds / 60)} min left`
}

/**
 * Say it to who sees the page and to who hears it, once.
 * @param {string} sentence
 * @param {string} [kind]
 */
const say = (sentence, kind) => {
  const outcome = document.getElementById("outcome")
  write(outcome, sentence)
  if (outcome && kind) outcome.className = kind
}

/**
 * @param {Element | null} element
 * @param {string} text
 */
const write = (element, text) => {
  if (element && element.textContent !== text) element.textContent = text
}

/** Take over what the page says by now, without moving who reads it. */
const renew = async () => {
  const answer = await fetch(location.href).catch(() => null)
  if (!answer || answer.status >= 500) {
    setTimeout(renew, AGAIN_AFTER_MS)
    return
  }
  if (!answer.ok || answer.redirected) {
    location.reload() // logged out, or the channel is gone
    return
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html")
  const had = document.activeElement?.closest("#now")
  for (const id of PARTS) {
    document.getElementById(id)?.replaceChildren(...(fresh.getElementById(id)?.childNodes ?? []))
  }
  const outcome = fresh.getElementById("outcome")
  say(outcome?.textContent ?? "", outcome?.className)
  if (had) document.getElementById("now")?.querySelector("button")?.focus()
  follow()
}

follow()
