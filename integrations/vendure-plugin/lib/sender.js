'use strict';
// Tells Shelfsight what changes in the shop: events are gathered for a second, put into Vendure's job queue, and sent
// from there by whichever process runs the queue, until Shelfsight takes them.
const { randomUUID } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const {
  ChangeChannelEvent,
  ConfigService,
  EventBus,
  JobQueueService,
  Logger,
  Product,
  ProductAsset,
  ProductVariant,
  ProductVariantAsset,
  TransactionalConnection,
  isInspectableJobQueueStrategy,
} = require('@vendure/core');
const { Inject, Injectable } = require('@nestjs/common');
const { In } = require('typeorm');
const { __decorate, __param } = require('tslib');
const { Changes, LISTENED, changeOf, concernsPicture } = require('./changes');
const { gathered, located, toLocate } = require('./channels');
const { decoderOf, encoderOf } = require('./ids');
const { InsertSubscriber } = require('./inserts');
const { RETRIES_MOST, pauseMs, refusedForGood, tooOld } = require('./retrying');
const { CONTEXT, SHELFSIGHT } = require('./tokens');

const QUEUE = 'shelfsight';
const GATHER_MS = 1000;
const TIMEOUT_MS = 30_000;

/** Most rows of products and channels that are read for a request: 500 products in 200 channels each. */
const ROWS_MOST = 100_000;

/** Longer than a job may take, a pause included: one that has run for so long belongs to a process that was killed. */
const ABANDONED_MS = 20 * 60_000;

class Sender {
  #changes = new Changes();

  /** @type {object[][]} events on their way into the queue, request by request */
  #leaving = [];

  /** @type {NodeJS.Timeout | null} */
  #gathering = null;

  /** @type {WeakMap<object, Promise<import('@vendure/core').ID[]>>} the products with the picture of an event */
  #shownOn = new WeakMap();

  /** In a row, of this process. */
  #failures = 0;
  #stopping = new AbortController();

  constructor(shelfsight, eventBus, jobs, connection, config) {
    this.shelfsight = shelfsight;
    this.eventBus = eventBus;
    this.jobs = jobs;
    this.connection = connection;
    this.strategy = config.jobQueueOptions.jobQueueStrategy;
    this.encode = encoderOf(config);
    this.decode = decoderOf(config);
  }

  async start() {
    this.queue = await this.jobs.createQueue({ name: QUEUE, process: (job) => this.#deliver(job) });
    this.#listen();
    await this.#takeUpAbandoned();
    this.takingUp = setInterval(() => void this.#takeUpAbandoned(), ABANDONED_MS);
    this.takingUp.unref();
  }

  /** Nothing that was gathered is lost when the process ends, and no pause keeps it from ending. */
  async stop() {
    clearInterval(this.takingUp);
    this.#stopping.abort();
    await this.#flush();
    if (this.#gathering) clearTimeout(this.#gathering);
  }

  #listen() {
    for (const event of LISTENED) {
      this.eventBus.ofType(event).subscribe((one) => void this.#take(one).catch(logged));
    }
    // While the change is being made: when a picture is deleted, nobody knows afterwards which products had it.
    this.eventBus.registerBlockingEventHandler({
      event: ChangeChannelEvent,
      id: 'shelfsight-products-of-picture',
      handler: async (event) => {
        if (!concernsPicture(event)) return;
        const looking = this.#productsShowing(event.ctx, event.entity.id);
        this.#shownOn.set(event, looking);
        await looking;
      },
    });
    const inserted = (id) => this.#gather(() => this.#changes.inserted(this.encode(id), new Date()));
    this.connection.rawConnection.subscribers.push(new InsertSubscriber(inserted));
  }

  async #take(event) {
    const change = changeOf(event, await this.#shownOn.get(event));
    if (!change) return;
    const userId = event.ctx.activeUserId;
    const encoded = {
      ...change,
      productIds: change.productIds.map(this.encode),
      channelIds: change.channelIds && change.channelIds.map(this.encode),
      userId: userId === undefined ? null : this.encode(userId),
    };
    this.#gather(() => this.#changes.add(encoded, event.createdAt));
  }

  async #productsShowing(ctx, assetId) {
    const find = (entity, options) => this.connection.getRepository(ctx, entity).find(options);
    const own = await find(ProductAsset, { where: { assetId } });
    const ofVariants = await find(ProductVariantAsset, { where: { assetId } });
    const variantIds = ofVariants.map((one) => one.productVariantId);
    const featured = { featuredAsset: { id: assetId } };
    const products = await find(Product, { where: featured, select: { id: true } });
    const variants = await find(ProductVariant, {
      where: [featured, { id: In(variantIds) }],
      select: { id: true, productId: true },
    });
    return [
      ...own.map((one) => one.productId),
      ...products.map((one) => one.id),
      ...variants.map((one) => one.productId),
    ];
  }

  #gather(add) {
    add();
    this.#gathering ??= setTimeout(() => void this.#flush(), GATHER_MS);
  }

  /** What the queue does not take now, for the database is away, stays for the next time. */
  async #flush() {
    if (this.#gathering) clearTimeout(this.#gathering);
    this.#gathering = null;
    this.#leaving.push(...this.#changes.drain());
    for (let events = this.#leaving.shift(); events; events = this.#leaving.shift()) {
      try {
        await this.queue.add({ id: `msg_${randomUUID()}`, events }, { retries: RETRIES_MOST });
      } catch (error) {
        this.#leaving.unshift(events);
        logged(error);
        return this.#gather(() => {});
      }
    }
  }

  /** The job's result is for whoever looks at the queue; a job that throws is tried again. */
  async #deliver(job) {
    const { id, events } = job.data;
    try {
      const answer = await this.shelfsight.post(
        '/events',
        { events: await this.#located(events) },
        { id, timeoutMs: TIMEOUT_MS, signal: this.#stopping.signal },
      );
      this.#failures = 0;
      return answer;
    } catch (error) {
      if (refusedForGood(error) || tooOld(job.createdAt, new Date())) {
        Logger.error(`${events.length} events are given up: ${error.message}`, CONTEXT);
        return { givenUp: error.message };
      }
      this.#failures += 1;
      await this.#pause(pauseMs(this.#failures, Math.random()));
      throw error;
    }
  }

  /** Nothing waits for it: of events whose channels cannot be looked up, Shelfsight looks for itself. */
  async #located(events) {
    const rows = await this.#channelsOf(toLocate(events)).catch((error) => (logged(error), []));
    return located(events, gathered(rows, ROWS_MOST));
  }

  /** Those of now: of a product that has joined one or left one since, an event of its own tells. */
  async #channelsOf(productIds) {
    if (productIds.length === 0) return [];
    const rows = await this.connection
      .getRepository(Product)
      .createQueryBuilder('product')
      .innerJoin('product.channels', 'channel')
      .select('product.id', 'productId')
      .addSelect('channel.id', 'channelId')
      .where('product.id IN (:...ids)', { ids: productIds.map(this.decode) })
      .orderBy('product.id')
      .addOrderBy('channel.id')
      .limit(ROWS_MOST)
      .getRawMany();
    return rows.map((row) => ({ productId: this.encode(row.productId), channelId: this.encode(row.channelId) }));
  }

  /** Here, and not by the queue's own back-off, which every shop sets as it likes and is a second by default. */
  async #pause(ms) {
    await sleep(ms, undefined, { signal: this.#stopping.signal, ref: false }).catch(() => {});
  }

  /** Vendure leaves the job of a process that was killed RUNNING for ever: it is put into the queue again. */
  async #takeUpAbandoned() {
    if (!isInspectableJobQueueStrategy(this.strategy)) return;
    try {
      const filter = { queueName: { eq: this.queue.name }, state: { eq: 'RUNNING' } };
      const { items } = await this.strategy.findMany({ filter });
      for (const job of items.filter((one) => Date.now() - Number(one.startedAt) > ABANDONED_MS)) {
        await this.queue.add(job.data, { retries: RETRIES_MOST });
        await this.strategy.cancelJob(/** @type {import('@vendure/core').ID} */ (job.id));
      }
    } catch (error) {
      logged(error);
    }
  }
}

function logged(error) {
  Logger.error(error.message, CONTEXT, error.stack);
}

__decorate(
  [
    Injectable(),
    __param(0, Inject(SHELFSIGHT)),
    __param(1, Inject(EventBus)),
    __param(2, Inject(JobQueueService)),
    __param(3, Inject(TransactionalConnection)),
    __param(4, Inject(ConfigService)),
  ],
  Sender,
);

module.exports = { Sender };
