import { DownloadError, NoModelError, loadRecogniser } from '@shelfsight/client'
import { offersFor } from '../core/offers.js'
import { CAMERA_GONE, NO_PHOTO, cameraAdvice, facts, failure } from '../core/words.js'
import { keepJudging, openCamera } from '../view/camera.js'
import { element } from '../view/page.js'
import { listenForPhotos, readPhoto } from '../view/photos.js'
import { Stage } from '../view/stage.js'
import { Answer, OFFERS } from './answer.js'

/**
 * @typedef {import('@shelfsight/client').Product & { picture: string }} DemoProduct
 * @typedef {import('@shelfsight/client').Recogniser} Recogniser
 * @typedef {HTMLImageElement | HTMLVideoElement} Picture
 * @typedef {{ recogniser: Recogniser, products: Map<string, DemoProduct> }} Ready
 */

const stage = new Stage()
const answer = new Answer()
const samples = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.sample'))

/** Ends with the picture that is shown, so that an answer that comes too late is dropped. */
let shown = new AbortController()
/** @type {HTMLImageElement | null} the photo that is shown */
let photo = null
let ready = load()

/** @returns {Promise<Ready | null>} null when it failed, which the page then says */
async function load() {
  answer.showLoading()
  const { modelUrl = '', productsUrl = '' } = document.body.dataset
  try {
    const [recogniser, products] = await Promise.all([
      loadRecogniser({ baseUrl: modelUrl, onProgress: (progress) => answer.showProgress(progress) }),
      fetchProducts(productsUrl),
    ])
    element('facts', HTMLElement).textContent = facts(recogniser)
    answer.showReady()
    return { recogniser, products }
  } catch (error) {
    if (error instanceof NoModelError) answer.showNoModel()
    else answer.showError(failure(error))
    return null
  }
}

/** @param {string} url */
async function fetchProducts(url) {
  const response = await fetch(url, { cache: 'no-cache' }).catch(() => null)
  if (!response?.ok) throw new DownloadError(`${url} cannot be reached`)
  const { products } = /** @type {{ products: DemoProduct[] }} */ (await response.json())
  return new Map(products.map((product) => [product.id, product]))
}

/**
 * Recognise a picture and show the answer, unless another picture has taken its place meanwhile.
 *
 * @param {Picture} picture
 * @param {AbortSignal} signal
 */
async function judge(picture, signal) {
  const loaded = await ready
  if (!loaded || signal.aborted) return
  const { recogniser, products } = loaded
  try {
    const startedMs = performance.now()
    const ranking = await recogniser.recognise(picture, { top: recogniser.metadata.labels.length })
    if (signal.aborted) return
    element('facts', HTMLElement).textContent = facts(recogniser, performance.now() - startedMs)
    answer.showOffers(offersFor(ranking, products, OFFERS), { live: picture === stage.video })
  } catch (error) {
    nextPicture()
    stage.clear()
    answer.showError(failure(error))
  }
}

/** End what is shown, the camera too. */
function nextPicture() {
  shown.abort()
  shown = new AbortController()
  photo = null
  for (const sample of samples) sample.setAttribute('aria-pressed', 'false')
  return shown.signal
}

/** @param {Blob | string} source a file, or a URL */
async function showPhoto(source) {
  const signal = nextPicture()
  for (const sample of samples) sample.setAttribute('aria-pressed', String(sample.dataset.photo === source))
  const image = await readPhoto(source).catch(() => null)
  if (signal.aborted) return
  if (!image) return advise(NO_PHOTO)
  photo = image
  stage.showPhoto(image)
  await judge(image, signal)
}

async function startCamera() {
  const signal = nextPicture()
  try {
    const close = await openCamera(stage.video, () => advise(CAMERA_GONE))
    signal.addEventListener('abort', close)
    if (signal.aborted) return close()
  } catch (error) {
    if (!signal.aborted) advise(cameraAdvice(error, window.isSecureContext))
    return
  }
  stage.goLive()
  await keepJudging(signal, () => judge(stage.video, signal))
}

function stopCamera() {
  nextPicture()
  stage.clear()
  answer.forget()
}

/** @param {string} words why there is no picture, and what to do now */
function advise(words) {
  nextPicture()
  stage.advise(words)
  answer.forget()
}

element('camera', HTMLButtonElement).addEventListener('click', () => {
  if (stage.root.dataset.state === 'live') stopCamera()
  else startCamera()
})
element('retry', HTMLButtonElement).addEventListener('click', () => {
  ready = load()
  if (photo) judge(photo, shown.signal)
})
listenForPhotos(
  {
    stage: stage.root,
    button: element('choose', HTMLButtonElement),
    input: element('file', HTMLInputElement),
    samples,
  },
  showPhoto,
)
