'use strict';
// The custom fields of a channel: what Shelfsight writes about its model, and what the shop chooses.
const { LanguageCode } = require('@vendure/core');

/** When a training starts by itself, as Shelfsight calls it. */
const TRIGGERS = ['product-added', 'product-deleted', 'image-changed', 'schedule', 'accuracy'];

const STATES = ['idle', 'queued', 'training', 'ready', 'failed'];

const text = (value) => [{ languageCode: LanguageCode.en, value }];

/** What the shop chooses. */
const choice = (name, type, label, more) => ({
  name,
  type,
  label: text(label),
  public: false,
  ui: { tab: 'AI model' },
  ...more,
});

/** What Shelfsight writes; public is what a storefront or a till needs to load the model. */
const written = (name, type, label, more = {}) => ({
  name,
  type,
  label: text(label),
  nullable: true,
  public: true,
  ui: { tab: 'Written by Shelfsight' },
  ...more,
});

const options = (values) => values.map((value) => ({ value }));

/** @returns {import('@vendure/core').CustomFieldConfig[]} in the order in which the dashboard shows them */
function channelFields() {
  return /** @type {import('@vendure/core').CustomFieldConfig[]} */ ([
    choice('modelAutoRetrainEnabled', 'boolean', 'Train by itself', { nullable: false, defaultValue: true }),
    choice('modelRetrainTriggers', 'string', 'Train when', {
      nullable: true,
      list: true,
      defaultValue: TRIGGERS,
      options: options(TRIGGERS),
    }),
    written('modelBaseUrl', 'string', 'Model address', { length: 2000 }),
    written('modelVersion', 'string', 'Model version'),
    written('modelLastTrained', 'datetime', 'Last trained'),
    written('modelTrainingStatus', 'string', 'Training status', {
      public: false,
      defaultValue: 'idle',
      options: options(STATES),
    }),
    written('mlModelJsonId', 'string', 'Asset of model.json'),
    written('mlModelBinId', 'string', 'Asset of weights.bin'),
    written('mlMetadataId', 'string', 'Asset of metadata.json'),
  ]);
}

/**
 * @param {import('@vendure/core').CustomFieldConfig[]} existing fields the installation has already
 * @returns {import('@vendure/core').CustomFieldConfig[]} the fields it lacks
 * @throws {Error} a field of the same name cannot hold what Shelfsight writes there
 */
function missingFields(existing) {
  const byName = new Map(existing.map((one) => [one.name, one]));
  return channelFields().filter((wanted) => {
    const there = byName.get(wanted.name);
    if (!there) return true;
    const same = there.type === wanted.type && Boolean(there.list) === Boolean(wanted.list);
    if (!same || there.readonly || there.internal) {
      const kind = `a ${wanted.list ? 'list of ' : ''}${wanted.type}, neither readonly nor internal`;
      throw new Error(
        `The custom field Channel.${wanted.name} exists already but is not ${kind}: rename or change yours.`,
      );
    }
    return false;
  });
}

module.exports = { TRIGGERS, channelFields, missingFields };
