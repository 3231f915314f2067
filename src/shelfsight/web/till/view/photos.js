/**
 * Call `onPhoto` with the photo whenever somebody chooses, drops or pastes one, or taps a sample.
 *
 * @param {object} parts
 * @param {HTMLElement} parts.stage gets the class `dropping` while a file hovers over the page
 * @param {HTMLElement} parts.button opens the choice of a file
 * @param {HTMLInputElement} parts.input
 * @param {Iterable<HTMLElement>} parts.samples with the photo's URL in data-photo
 * @param {(photo: Blob | string) => void} onPhoto a file, or a URL
 */
export function listenForPhotos({ stage, button, input, samples }, onPhoto) {
  /** @param {FileList | undefined | null} files */
  const take = (files) => {
    if (files?.length) onPhoto(files[0])
  }
  button.addEventListener('click', () => input.click())
  input.addEventListener('change', () => {
    take(input.files)
    input.value = '' // so that choosing the same file again is a change
  })
  document.addEventListener('paste', (event) => take(event.clipboardData?.files))
  for (const sample of samples) {
    sample.addEventListener('click', () => onPhoto(sample.dataset.photo ?? ''))
  }
  listenForDrops(stage, take)
}

/**
 * Return a photo as an image that is ready to be drawn.
 *
 * @param {Blob | string} source a file, or a URL
 * @returns {Promise<HTMLImageElement>}
 * @throws {DOMException} the browser cannot read it
 */
export async function readPhoto(source) {
  const image = new Image()
  image.src = typeof source === 'string' ? source : URL.createObjectURL(source)
  try {
    await image.decode()
    return image
  } finally {
    if (source instanceof Blob) URL.revokeObjectURL(image.src)
  }
}

/**
 * The whole page takes drops: a photo that misses the stage would otherwise replace the page.
 *
 * @param {HTMLElement} stage
 * @param {(files: FileList | undefined) => void} take
 */
function listenForDrops(stage, take) {
  /** @param {boolean} on */
  const highlight = (on) => stage.classList.toggle('dropping', on)
  document.addEventListener('dragover', (event) => {
    event.preventDefault()
    highlight(event.dataTransfer?.types.includes('Files') ?? false)
  })
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) highlight(false)
  })
  document.addEventListener('drop', (event) => {
    event.preventDefault()
    highlight(false)
    take(event.dataTransfer?.files)
  })
}
