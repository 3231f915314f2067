'use strict';
// Which channels the events of a request name: Shelfsight then looks only there. No network, no database.
const { CHANNELS_MOST } = require('./changes');

/** Most channels in one request, which keeps it well below the 2 MiB that Shelfsight takes. */
const IN_REQUEST_MOST = 10_000;

/** An assignment or a removal names its channels itself: the removed ones have the product no longer. */
const LOCATABLE = new Set(['created', 'updated', 'deleted']);

/** @typedef {{ action: string, productIds: string[], channelIds: string[] | null }} Event */

/** @param {Event} event */
function isLocatable({ action, channelIds }) {
  return channelIds === null && LOCATABLE.has(action);
}

/**
 * @param {Event[]} events
 * @returns {string[]} the products whose channels the events do not say, each once
 */
function toLocate(events) {
  return [...new Set(events.filter(isLocatable).flatMap(({ productIds }) => productIds))];
}

/**
 * @param {{ productId: string, channelId: string }[]} rows ordered by product
 * @param {number} most so many rows were read at most; then more may be missing of the last product
 * @returns {Map<string, string[]>} the channels of each product
 */
function gathered(rows, most) {
  const found = new Map();
  for (const { productId, channelId } of rows) {
    const channelIds = found.get(productId) ?? [];
    channelIds.push(channelId);
    found.set(productId, channelIds);
  }
  if (rows.length === most) found.delete(rows[most - 1].productId);
  return found;
}

/**
 * @param {Event[]} events of one request
 * @param {Map<string, string[]>} channelsOf by product; of one that is not in it nobody knows
 * @returns {Event[]} the same, divided by channels: null = whichever have the products
 */
function located(events, channelsOf) {
  let room = IN_REQUEST_MOST;
  const named = (channelIds) => {
    if (channelIds === null || channelIds.length > Math.min(CHANNELS_MOST, room)) return null;
    room -= channelIds.length;
    return channelIds;
  };
  const parts = events.flatMap((event) => (isLocatable(event) ? byChannels(event, channelsOf) : [event]));
  return parts.map((event) => ({ ...event, channelIds: named(event.channelIds) }));
}

/** A product is in one channel at least; where none is found it is gone, or not yet there for everybody. */
function byChannels(event, channelsOf) {
  const parts = new Map();
  for (const id of event.productIds) {
    const channelIds = channelsOf.get(id) ?? null;
    const key = JSON.stringify(channelIds);
    const part = parts.get(key) ?? { ...event, productIds: [], channelIds };
    part.productIds.push(id);
    parts.set(key, part);
  }
  return [...parts.values()];
}

module.exports = { IN_REQUEST_MOST, gathered, located, toLocate };
