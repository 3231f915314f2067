'use strict';

/** What the logs call the plugin. */
const CONTEXT = 'Shelfsight';

/** Injects what reaches Shelfsight; null where the plugin has no options. */
const SHELFSIGHT = Symbol('Shelfsight');

module.exports = { CONTEXT, SHELFSIGHT };
