/**
 * What the pages use of `@shelfsight/client`. They name its files and not the package: that brings `loadRecogniser` along,
 * and the bundler then puts TensorFlow.js in front of the page, which needs it only when there is a picture to judge.
 */
export { DownloadError, LoginError, NoModelError } from '../../../../clients/js/core/errors.js'
export { isProblem } from '../../../../clients/js/core/problems.js'
export { openClient } from '../../../../clients/js/io/client.js'
