'use strict';
const { trainModel } = require('./lib/access');
const { ShelfsightPlugin } = require('./lib/plugin');

module.exports = { ShelfsightPlugin, trainModel };
