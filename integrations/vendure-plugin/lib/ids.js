'use strict';

/**
 * @param {import('@vendure/core').ConfigService} config
 * @returns {(id: import('@vendure/core').ID) => string} turns an id of the database into the one that the Admin API shows
 */
function encoderOf(config) {
  const strategy = strategyOf(config);
  return (id) => String(strategy.encodeId(id));
}

/**
 * @param {import('@vendure/core').ConfigService} config
 * @returns {(id: string) => import('@vendure/core').ID} turns an id that the Admin API shows into the one of the database
 */
function decoderOf(config) {
  const strategy = strategyOf(config);
  return (id) => strategy.decodeId(id);
}

/** @returns {any} */
function strategyOf(config) {
  return config.entityOptions.entityIdStrategy ?? config.entityIdStrategy;
}

module.exports = { decoderOf, encoderOf };
