import { element } from './page.js'

/** The square in which the camera's picture or a photo is shown: exactly the part that is judged. */
export class Stage {
  root = element('stage', HTMLElement)
  video = element('video', HTMLVideoElement)
  #picture = element('picture', HTMLElement)
  #advice = element('advice', HTMLElement)
  #cameraWords = element('camera-words', HTMLElement)

  /** Show nothing, and ask for a product. */
  clear() {
    this.#show('empty')
  }

  /** Show the camera's picture. */
  goLive() {
    this.#show('live')
  }

  /** @param {string} words what to do now */
  advise(words) {
    this.#show('advice')
    this.#advice.textContent = words
  }

  /** @param {HTMLImageElement} photo */
  showPhoto(photo) {
    photo.alt = 'The photo that is judged'
    this.#picture.replaceChildren(photo)
    this.#show('photo')
  }

  /** @param {'empty' | 'live' | 'photo' | 'advice'} state */
  #show(state) {
    this.root.dataset.state = state
    this.#advice.textContent = ''
    this.#cameraWords.textContent = state === 'live' ? 'Stop camera' : 'Start camera'
  }
}
