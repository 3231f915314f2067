'use strict';
// What Vendure's events mean for a catalogue, and how many of them become few. No clock, no network, no database.
const {
  Asset,
  ChangeChannelEvent,
  ChannelEvent,
  Product,
  ProductEvent,
  ProductVariant,
  ProductVariantEvent,
} = require('@vendure/core');

/** Most ids in one request, which keeps a job's data well below the 64 KB that MySQL gives it. */
const IDS_MOST = 500;

/** Most channels that Shelfsight takes in one event. */
const CHANNELS_MOST = 1_000;

/**
 * Something that happened to products, or to a channel.
 * @typedef {object} Change
 * @property {'product' | 'variant' | 'productChannel' | 'assetChannel' | 'channel'} kind
 * @property {string} action
 * @property {import('@vendure/core').ID[]} productIds
 * @property {import('@vendure/core').ID[] | null} channelIds null = whichever have the product, or too many to name
 */

/**
 * The events that are listened to. Prices, stock and options are left out: Vendure's API changes a price through the
 * variant, whose own event comes with it, and a catalogue for recognition has neither stock nor options. Of assets only
 * their channels matter: their bytes never change, and deleting one removes it from its channels first.
 */
const LISTENED = [ProductEvent, ProductVariantEvent, ChangeChannelEvent, ChannelEvent];

const CHANNEL_KINDS = new Map(
  /** @type {[unknown, Change['kind']][]} */ ([
    [Product, 'productChannel'],
    [ProductVariant, 'variant'],
    [Asset, 'assetChannel'],
  ]),
);

/**
 * @param {any} event
 * @param {import('@vendure/core').ID[]} shownOn the products with the asset that the event is about
 * @returns {Change | null} null = nothing to tell
 */
function changeOf(event, shownOn = []) {
  if (event instanceof ProductEvent) {
    return { kind: 'product', action: event.type, productIds: [event.entity.id], channelIds: null };
  }
  if (event instanceof ProductVariantEvent) {
    return { kind: 'variant', action: event.type, productIds: event.entity.map(productOf), channelIds: null };
  }
  if (event instanceof ChannelEvent) {
    return { kind: 'channel', action: event.type, productIds: [], channelIds: [event.entity.id] };
  }
  const kind = CHANNEL_KINDS.get(event.entityType);
  if (!kind) return null; // of something else, or of an entity that is just being made and has its own event
  const productIds =
    kind === 'productChannel' ? [event.entity.id] : kind === 'variant' ? [productOf(event.entity)] : shownOn;
  if (productIds.length === 0) return null;
  const channelIds = event.channelIds.length > CHANNELS_MOST ? null : event.channelIds;
  return { kind, action: event.type, productIds, channelIds };
}

/**
 * Whether an event is about a picture's channels, so that the products that show it must be looked up.
 * @param {any} event
 */
function concernsPicture(event) {
  return event.entityType === Asset && event.entity.type === 'IMAGE';
}

/** @param {any} variant */
function productOf(variant) {
  return variant.productId ?? variant.product.id;
}

/** Changes of a while, each told once: an import of 500 products in a second is one event with 500 ids. */
class Changes {
  #byKey = new Map();

  /** Products that were inserted by a way that has no event of its own. */
  #inserted = new Map();

  get empty() {
    return this.#byKey.size === 0 && this.#inserted.size === 0;
  }

  /**
   * @param {{ kind: string, action: string, productIds: string[], channelIds: string[] | null, userId: string | null }} change
   * @param {Date} at
   */
  add({ productIds, ...same }, at) {
    const key = JSON.stringify([same.kind, same.action, same.channelIds, same.userId]);
    const known = this.#byKey.get(key) ?? { ...same, productIds: new Set() };
    for (const id of productIds) known.productIds.add(id);
    known.at = at;
    this.#byKey.set(key, known);
  }

  /**
   * @param {string} productId
   * @param {Date} at
   */
  inserted(productId, at) {
    this.#inserted.set(productId, at);
  }

  /** @returns {object[][]} the bodies' `events`, request by request; nothing is left behind */
  drain() {
    this.#tellInserted();
    const all = [...this.#byKey.values()].flatMap(({ productIds, at, ...same }) =>
      slices([...productIds]).map((ids) => ({
        kind: same.kind,
        action: same.action,
        productIds: ids,
        channelIds: same.channelIds,
        userId: same.userId,
        at: at.toISOString(),
      })),
    );
    this.#byKey.clear();
    return requests(all);
  }

  #tellInserted() {
    const told = new Set([...this.#byKey.values()].flatMap(({ productIds }) => [...productIds]));
    for (const [id, at] of this.#inserted) {
      if (!told.has(id))
        this.add({ kind: 'product', action: 'created', productIds: [id], channelIds: null, userId: null }, at);
    }
    this.#inserted.clear();
  }
}

/** @param {string[]} ids */
function slices(ids) {
  if (ids.length === 0) return [ids]; // of a channel
  return Array.from({ length: Math.ceil(ids.length / IDS_MOST) }, (_, n) =>
    ids.slice(n * IDS_MOST, (n + 1) * IDS_MOST),
  );
}

/** @param {{ productIds: string[], channelIds: string[] | null }[]} events */
function requests(events) {
  const found = [];
  let room = 0;
  for (const event of events) {
    const size = event.productIds.length + (event.channelIds?.length ?? 0);
    if (size > room) {
      found.push(/** @type {object[]} */ ([]));
      room = IDS_MOST;
    }
    found[found.length - 1].push(event);
    room -= size;
  }
  return found;
}

module.exports = { CHANNELS_MOST, Changes, IDS_MOST, LISTENED, changeOf, concernsPicture };
