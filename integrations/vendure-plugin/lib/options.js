'use strict';
// What the shop's configuration says about Shelfsight, checked once, at start.

const PREFIX = 'whsec_';
const SECRET_BYTES_LEAST = 24;
const HELP = '`shelfsight vendure connect` prints the plugin options to use';

/**
 * @param {unknown} options
 * @returns {{ url: string, key: Buffer }} the address without a slash at its end, and the bytes to sign with
 * @throws {Error} one of them cannot be used
 */
function checkOptions(options) {
  const { url, secret } = /** @type {Partial<import('../index').ShelfsightOptions>} */ (options ?? {});
  return { url: checkUrl(url), key: checkSecret(secret) };
}

/** @param {unknown} url */
function checkUrl(url) {
  if (typeof url !== 'string' || url === '') throw new Error(`ShelfsightPlugin.init: \`url\` is missing: ${HELP}.`);
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (!parsed || !['http:', 'https:'].includes(parsed.protocol) || parsed.search || parsed.hash || parsed.username) {
    throw new Error(
      `ShelfsightPlugin.init: \`url\` is no address such as https://shelfsight.example/api/v1/vendure/1: ${HELP}.`,
    );
  }
  return parsed.href.replace(/\/+$/, '');
}

/** @param {unknown} secret */
function checkSecret(secret) {
  if (typeof secret !== 'string' || secret === '')
    throw new Error(`ShelfsightPlugin.init: \`secret\` is missing: ${HELP}.`);
  const encoded = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : '';
  const key = Buffer.from(encoded, 'base64');
  if (key.toString('base64') !== encoded || key.length < SECRET_BYTES_LEAST) {
    throw new Error(
      `ShelfsightPlugin.init: \`secret\` is not whole: it is \`${PREFIX}\` and at least 32 characters of base64: ${HELP}.`,
    );
  }
  return key;
}

module.exports = { checkOptions };
