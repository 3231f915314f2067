import { CAMERA_GONE, NO_PHOTO, cameraAdvice } from '../core/words.js'
import { keepAwake, keepJudging, openCamera } from './camera.js'
import { onPress, element } from './page.js'
import { listenForPhotos, readPhoto } from './photos.js'
import { Stage } from './stage.js'

/**
 * @typedef {HTMLImageElement | HTMLVideoElement} Picture
 *
 * @typedef {object} Listeners
 * @property {(picture: Picture, signal: AbortSignal) => Promise<void>} judge
 * @property {() => void} onGone the picture that was judged is gone
 * @property {(isOn: boolean) => void} onCamera somebody has switched it
 */

/** The picture that is judged: the camera's, or a photo. */
export class Viewfinder {
  #stage = new Stage()
  #listeners
  #shown = new AbortController() // ends with the picture, so that an answer that comes too late is dropped
  #photo = /** @type {HTMLImageElement | null} */ (null)
  #isInterrupted = false

  /** @param {Listeners} listeners */
  constructor(listeners) {
    this.#listeners = listeners
    onPress('camera', () => this.#toggle())
    const { root } = this.#stage
    const button = element('choose', HTMLButtonElement)
    listenForPhotos({ stage: root, button, input: element('file', HTMLInputElement), samples: [] }, (photo) => this.#show(photo))
    document.addEventListener('visibilitychange', () => this.#onVisibility())
  }

  /** @returns {boolean} */
  get isLive() {
    return this.#stage.root.dataset.state === 'live'
  }

  /** Judge the photo again that is shown, now that it can be judged. */
  async judgeAgain() {
    if (this.#photo) await this.#listeners.judge(this.#photo, this.#shown.signal)
  }

  /** Start the camera, if the browser lets this page without asking. */
  async startIfAllowed() {
    const name = /** @type {PermissionName} */ ('camera')
    const { state } = (await navigator.permissions?.query({ name }).catch(() => null)) ?? {}
    if (state === 'granted' && this.#stage.root.dataset.state === 'empty') await this.startCamera()
  }

  async startCamera() {
    const signal = this.#next()
    try {
      const close = await openCamera(this.#stage.video, () => this.#advise(CAMERA_GONE))
      signal.addEventListener('abort', close)
      if (signal.aborted) return close()
    } catch (error) {
      if (!signal.aborted) this.#advise(cameraAdvice(error, window.isSecureContext))
      return
    }
    this.#stage.goLive()
    this.#listeners.onGone()
    void keepAwake(signal)
    await keepJudging(signal, () => this.#listeners.judge(this.#stage.video, signal))
  }

  /** Show nothing. */
  clear() {
    this.#next()
    this.#stage.clear()
    this.#listeners.onGone()
  }

  #toggle() {
    const isOn = !this.isLive
    this.#listeners.onCamera(isOn)
    if (isOn) void this.startCamera()
    else this.clear()
  }

  /** A camera that nobody looks at is off: for the battery, and because people do not like to be watched. */
  #onVisibility() {
    if (document.hidden && this.isLive) {
      this.clear()
      this.#isInterrupted = true
    } else if (!document.hidden && this.#isInterrupted) {
      this.#isInterrupted = false
      void this.startCamera()
    }
  }

  /** @param {Blob | string} source */
  async #show(source) {
    const signal = this.#next()
    const image = await readPhoto(source).catch(() => null)
    if (signal.aborted) return
    if (!image) return this.#advise(NO_PHOTO)
    this.#photo = image
    this.#stage.showPhoto(image)
    this.#listeners.onGone()
    await this.#listeners.judge(image, signal)
  }

  /** @param {string} words why there is no picture, and what to do now */
  #advise(words) {
    this.#next()
    this.#stage.advise(words)
    this.#listeners.onGone()
  }

  /** End what is shown, the camera too. */
  #next() {
    this.#shown.abort()
    this.#shown = new AbortController()
    this.#photo = null
    this.#isInterrupted = false
    return this.#shown.signal
  }
}
