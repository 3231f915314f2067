/** At most this often a live picture is judged: a till needs no more, and a phone stays cool. */
const INTERVAL_MS = 200

/**
 * Show the camera in a video element and return how to close it.
 *
 * @param {HTMLVideoElement} video
 * @param {() => void} onGone called when the camera is unplugged or taken away
 * @returns {Promise<() => void>}
 * @throws {DOMException | TypeError} as getUserMedia: none there, not allowed, in use
 */
export async function openCamera(video, onGone) {
  const wanted = { facingMode: 'environment', width: { ideal: 1280 }, height: { ideal: 720 } }
  const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: wanted })
  const tracks = stream.getTracks()
  const close = () => {
    for (const track of tracks) track.stop()
    if (video.srcObject === stream) video.srcObject = null
  }
  for (const track of tracks) track.addEventListener('ended', onGone)
  video.srcObject = stream
  await video.play().catch((error) => {
    close()
    throw error
  })
  return close
}

/**
 * Judge the live picture again and again, until aborted. Rests while the page is not seen.
 *
 * @param {AbortSignal} signal
 * @param {() => Promise<void>} judge
 */
export async function keepJudging(signal, judge) {
  while (!signal.aborted) {
    const startedMs = performance.now()
    if (!document.hidden) await judge()
    const restMs = INTERVAL_MS - (performance.now() - startedMs)
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, restMs)))
  }
}

/**
 * Keep the screen on until aborted, where the browser can.
 *
 * @param {AbortSignal} signal
 */
export async function keepAwake(signal) {
  try {
    const lock = await navigator.wakeLock?.request('screen')
    if (signal.aborted) await lock?.release()
    signal.addEventListener('abort', () => lock?.release().catch(() => {}))
  } catch {
    // The battery is low, or the page is not seen: the screen may go dark, and nothing else comes of it.
  }
}
