'use strict';

/**
 * @param {import('@vendure/core').ConfigService} config
 * @returns {(id: import('@vendure/core').ID) => string} turns an id of the database into the one that the Admin API shows
 */
function encoderOf(config) {
  const strategy = config.entityOptions.entityIdStrategy ?? config.entityIdStrategy;
  return (id) => String(/** @type {any} */ (strategy).encodeId(id));
}

module.exports = { encoderOf };
