'use strict';
// What the shop's configuration says about Shelfsight, checked once, at start.

const PREFIX = 'whsec_';
const SECRET_BYTES_LEAST = 24;

/** @param {string} problem */
const refusal = (problem) =>
  new Error(`ShelfsightPlugin.init: ${problem}: \`shelfsight vendure connect\` prints the options to use.`);

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
  if (typeof url !== 'string' || url === '') throw refusal('`url` is missing');
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (!parsed || !['http:', 'https:'].includes(parsed.protocol) || parsed.search || parsed.hash || parsed.username) {
    throw refusal('`url` is no address such as https://shelfsight.example/api/v1/vendure/1');
  }
  return parsed.href.replace(/\/+$/, '');
}

/** @param {unknown} secret */
function checkSecret(secret) {
  if (typeof secret !== 'string' || secret === '') throw refusal('`secret` is missing');
  const encoded = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : '';
  const key = Buffer.from(encoded, 'base64');
  if (key.toString('base64') !== encoded || key.length < SECRET_BYTES_LEAST) {
    throw refusal(`\`secret\` is not whole, it is \`${PREFIX}\` and at least 32 characters of base64`);
  }
  return key;
}

module.exports = { checkOptions };
