'use strict';
// One real Vendure with the plugin, server and worker in one process, and a receiver that checks every signature.
const assert = require('node:assert/strict');
const { after, before, beforeEach, describe, test } = require('node:test');
const { Receiver, SECRET, TRAINING } = require('./support/receiver');
const { Shop, csvOf } = require('./support/shop');
const { Admin, Vendure, dropDatabase, newDatabase, sql } = require('./support/vendure');

const TRAIN =
  'mutation ($id: ID!) { trainModelForChannel(channelId: $id) { id status stage done total version error requestedBy createdAt endedAt message } }';
const STATUS = 'query ($id: ID!) { modelTraining(channelId: $id) { id status message } }';

let database;
let receiver;
let vendure;
let admin;
let shop;

before(async () => {
  receiver = await Receiver.start();
  database = await newDatabase();
  vendure = await Vendure.start(database, { SHELFSIGHT_URL: receiver.url, SHELFSIGHT_SECRET: SECRET });
  admin = await Admin.login(vendure.url);
  shop = await Shop.prepare(admin);
});

after(async () => {
  await vendure?.stop();
  await receiver?.stop();
  if (database) await dropDatabase(database);
});

/** Returns when nothing that happened before is on its way any more. */
async function settled() {
  const id = await shop.product();
  await receiver.event('product', 'created', id);
}

/** What the last request for a training said. */
const asked = () => receiver.requests.findLast((one) => one.path === '/trainings').body;

async function refusalOf(who, query, id, channelToken = '') {
  const { errors } = await who.answer(query, { id }, channelToken);
  return errors[0];
}

describe('fields', () => {
  test('a storefront sees what it needs to load a model, and nothing else', async () => {
    const ask = async (fields) => {
      const headers = { 'content-type': 'application/json' };
      const body = JSON.stringify({ query: `{ activeChannel { customFields { ${fields} } } }` });
      return (await fetch(`${vendure.url}/shop-api`, { method: 'POST', headers, body })).json();
    };
    const { data } = await ask('modelBaseUrl modelVersion modelLastTrained mlModelJsonId mlModelBinId mlMetadataId');
    assert.equal(data.activeChannel.customFields.modelVersion, null);
    for (const field of ['modelTrainingStatus', 'modelAutoRetrainEnabled', 'modelRetrainTriggers']) {
      assert.match((await ask(field)).errors[0].message, /Cannot query field/);
    }
  });

  test('a new channel trains by itself, whatever changes', async () => {
    const { id } = await shop.channel();
    const query =
      'query ($id: ID!) { channel(id: $id) { customFields { modelTrainingStatus modelAutoRetrainEnabled modelRetrainTriggers } } }';
    assert.deepEqual((await admin.ask(query, { id })).channel.customFields, {
      modelTrainingStatus: 'idle',
      modelAutoRetrainEnabled: true,
      modelRetrainTriggers: ['product-added', 'product-deleted', 'image-changed', 'schedule', 'accuracy'],
    });
  });
});

describe('trainings', () => {
  beforeEach(() => receiver.reset());

  test('the button asks Shelfsight, in the name of who pressed it', async () => {
    receiver.answers['/trainings'] = ({ channelId, requestedBy }) => [
      202,
      { ...TRAINING, channelId, requestedBy: `vendure:${requestedBy}` },
    ];
    const { trainModelForChannel } = await admin.ask(TRAIN, { id: '1' });
    assert.deepEqual(trainModelForChannel, {
      id: '7',
      status: 'training',
      stage: 'Looking at photos',
      done: 30,
      total: 81,
      version: null,
      error: null,
      requestedBy: 'Super Admin',
      createdAt: '2026-11-20T12:00:00.000Z',
      endedAt: null,
      message: 'Looking at photos: 30 of 81',
    });
    assert.deepEqual(asked(), { channelId: '1', requestedBy: 'Super Admin' });
  });

  test('how a training ended is one sentence', async () => {
    const sentences = [
      [{ status: 'queued', stage: '', done: 0, total: 0 }, 'Waiting for its turn'],
      [{ status: 'ready', version: '1.4.2' }, 'Version 1.4.2 is ready'],
      [{ status: 'idle', error: 'Add a second product with photos' }, 'Add a second product with photos'],
      [{ status: 'failed', error: 'the storage is full' }, 'the storage is full'],
      [{ status: 'cancelled' }, 'Cancelled'],
    ];
    for (const [part, message] of sentences) {
      receiver.answers['/trainings/status'] = () => [200, { training: { ...TRAINING, ...part }, modelVersion: null }];
      assert.equal((await admin.ask(STATUS, { id: '1' })).modelTraining.message, message);
    }
  });

  test('before the first training there is none', async () => {
    receiver.answers['/trainings/status'] = () => [200, { training: null, modelVersion: null }];
    assert.deepEqual(await admin.ask(STATUS, { id: '1' }), { modelTraining: null });
  });

  test('the permission counts in the channel that is asked for, not in the active one', async () => {
    const [mine, other] = [await shop.channel(), await shop.channel()];
    const name = await shop.administrator(['TrainModel'], [mine.id]);
    const ada = await Admin.login(vendure.url, name);
    const { data } = await ada.answer(TRAIN, { id: mine.id }, mine.token);
    assert.equal(data.trainModelForChannel.status, 'training');
    assert.equal(asked().requestedBy, 'Ada Lovelace');
    for (const query of [TRAIN, STATUS]) {
      assert.equal((await refusalOf(ada, query, other.id, mine.token)).extensions.code, 'FORBIDDEN');
      assert.equal((await refusalOf(ada, query, other.id, other.token)).extensions.code, 'FORBIDDEN');
    }
    assert.deepEqual(
      receiver.requests.filter((one) => one.body.channelId === other.id),
      [],
    );
  });

  test('who may change a channel may train it, who may read it sees how it goes, others nothing', async () => {
    const channel = await shop.channel();
    const as = async (...permissions) =>
      Admin.login(vendure.url, await shop.administrator(permissions, [channel.id]));
    const [changing, reading, selling] = [await as('UpdateChannel'), await as('ReadChannel'), await as('ReadOrder')];
    assert.equal((await changing.answer(TRAIN, { id: channel.id }, channel.token)).errors, undefined);
    assert.equal((await reading.answer(STATUS, { id: channel.id }, channel.token)).errors, undefined);
    assert.equal((await refusalOf(reading, TRAIN, channel.id, channel.token)).extensions.code, 'FORBIDDEN');
    assert.equal((await refusalOf(selling, STATUS, channel.id, channel.token)).extensions.code, 'FORBIDDEN');
    const nobody = new Admin(vendure.url);
    assert.equal((await refusalOf(nobody, TRAIN, channel.id)).extensions.code, 'FORBIDDEN');
  });

  test('a refusal of Shelfsight says what to do', async () => {
    const cases = [
      [404, { detail: 'nothing here' }, /Channel 1 is not connected to Shelfsight: run `shelfsight vendure connect`/],
      [401, { detail: 'signature' }, /does not accept the signature: check the plugin's `url` and `secret`/],
      [409, { detail: 'the channel is being deleted' }, /answers 409: the channel is being deleted/],
      [502, 'no problem document', /answers 502: check the plugin's `url`, http:/],
      [200, null, /Nothing like Shelfsight answers at http:.*: check the plugin's `url`/],
      [301, {}, /answers 301 .*: use the address it sends on to/],
    ];
    for (const [status, content, message] of cases) {
      receiver.answers['/trainings'] = () => [status, content];
      const { message: said, extensions } = await refusalOf(admin, TRAIN, '1');
      assert.match(said, message);
      assert.equal(extensions.code, 'SHELFSIGHT_ERROR');
    }
  });
});

describe('events', { concurrency: true }, () => {
  test('a product that is made, changed and deleted', async () => {
    const id = await shop.product();
    await shop.updateProduct({ id, enabled: false });
    await admin.ask('mutation ($id: ID!) { deleteProduct(id: $id) { result } }', { id });
    const { userId } = await receiver.event('product', 'created', id);
    assert.equal(userId, (await admin.ask('{ me { id } }')).me.id);
    await receiver.event('product', 'updated', id);
    await receiver.event('product', 'deleted', id);
  });

  test('what happens to a product and its variants names the channels that have it, also when they are deleted', async () => {
    const [mine, other] = [await shop.channel(), await shop.channel()];
    const [id, elsewhere] = [await shop.product(), await shop.product()];
    await shop.assignProduct(elsewhere, other.id);
    const variant = await shop.variant(id);
    await shop.assignProduct(id, mine.id);
    const since = receiver.events.length;
    await shop.updateProduct({ id, enabled: false });
    await shop.updateVariant({ id: variant, price: 250 });
    await shop.updateProduct({ id: elsewhere, enabled: false });
    assert.deepEqual((await receiver.event('product', 'updated', id, since)).channelIds, ['1', mine.id]);
    assert.deepEqual((await receiver.event('variant', 'updated', id, since)).channelIds, ['1', mine.id]);
    assert.deepEqual((await receiver.event('product', 'updated', elsewhere, since)).channelIds, ['1', other.id]);
    await admin.ask('mutation ($id: ID!) { deleteProduct(id: $id) { result } }', { id });
    assert.deepEqual((await receiver.event('product', 'deleted', id, since)).channelIds, ['1', mine.id]);
  });

  test('a product that is made in one channel, and put into another at once, is told of in both', async () => {
    const [mine, other] = [await shop.channel(), await shop.channel()];
    const input = { translations: [{ languageCode: 'en', name: 'both', slug: 'both', description: '' }] };
    const { data } = await admin.answer(
      'mutation ($input: CreateProductInput!) { createProduct(input: $input) { id } }',
      { input },
      mine.token,
    );
    const { id } = data.createProduct;
    await shop.assignProduct(id, other.id);
    const made = await receiver.event('product', 'created', id);
    const assigned = await receiver.event('productChannel', 'assigned', id);
    assert.ok(['1', mine.id].every((one) => made.channelIds.includes(one)));
    assert.deepEqual(assigned.channelIds, [other.id]);
  });

  test('a variant that is made, changed in price, and deleted', async () => {
    const id = await shop.product();
    const variant = await shop.variant(id);
    await shop.updateVariant({ id: variant, price: 250 });
    await admin.ask('mutation ($id: ID!) { deleteProductVariant(id: $id) { result } }', { id: variant });
    for (const action of ['created', 'updated', 'deleted']) await receiver.event('variant', action, id);
  });

  test('pictures that are added to a product and to a variant, and taken away', async () => {
    const assetIds = [await shop.picture()];
    const [id, other] = [await shop.product(), await shop.product()];
    const variant = await shop.variant(other);
    for (const some of [assetIds, []]) {
      const since = receiver.events.length;
      await shop.updateProduct({ id, assetIds: some });
      await shop.updateVariant({ id: variant, assetIds: some });
      await receiver.event('product', 'updated', id, since);
      await receiver.event('variant', 'updated', other, since);
    }
  });

  test('a picture that is deleted names every product that showed it', async () => {
    const picture = await shop.picture();
    const shown = await shop.product({ assetIds: [picture] });
    const featured = await shop.product({ featuredAssetId: picture });
    const sold = await shop.product();
    await shop.variant(sold, { assetIds: [picture] });
    await shop.deletePicture(picture, { everywhere: true });
    const { productIds, channelIds } = await receiver.event('assetChannel', 'removed', shown);
    assert.deepEqual(productIds.toSorted(), [shown, featured, sold].toSorted());
    assert.deepEqual(channelIds, ['1']);
  });

  test('a product that is assigned to a channel and removed from it', async () => {
    const channel = await shop.channel();
    const id = await shop.product({ assetIds: [await shop.picture()] });
    await shop.variant(id);
    await shop.assignProduct(id, channel.id);
    await shop.removeProduct(id, channel.id);
    for (const action of ['assigned', 'removed']) {
      assert.deepEqual((await receiver.event('productChannel', action, id)).channelIds, [channel.id]);
      assert.deepEqual((await receiver.event('variant', action, id)).channelIds, [channel.id]);
    }
  });

  test('a picture that is deleted in one channel of two', async () => {
    const channel = await shop.channel();
    const picture = await shop.picture();
    const id = await shop.product({ assetIds: [picture] });
    await shop.variant(id);
    await shop.assignProduct(id, channel.id);
    await admin.ask(
      'mutation ($id: ID!) { deleteAsset(input: { assetId: $id, force: true }) { result } }',
      { id: picture },
      channel.token,
    );
    assert.deepEqual((await receiver.event('assetChannel', 'removed', id)).channelIds, [channel.id]);
  });

  test('a channel that is made, changed and deleted', async () => {
    const { id } = await shop.channel();
    await admin.ask(
      'mutation ($id: ID!) { updateChannel(input: { id: $id, customFields: { modelAutoRetrainEnabled: false } }) { __typename } }',
      { id },
    );
    await admin.ask('mutation ($id: ID!) { deleteChannel(id: $id) { result } }', { id });
    const told = (action) =>
      receiver.until(
        () =>
          receiver.events.find((one) => one.kind === 'channel' && one.action === action && one.channelIds[0] === id),
        action,
      );
    await told('created');
    await told('updated');
    assert.deepEqual((await told('deleted')).productIds, []);
  });

  test("products of Vendure's own import, which has no events", async () => {
    const query = 'mutation ($file: Upload!) { importProducts(csvFile: $file) { imported errors } }';
    const { importProducts } = await admin.send(query, 'products.csv', 'text/csv', csvOf('imported'));
    assert.deepEqual(importProducts, { imported: 1, errors: [] });
    const { products } = await admin.ask(
      '{ products(options: { filter: { slug: { eq: "imported" } } }) { items { id } } }',
    );
    assert.deepEqual((await receiver.event('product', 'created', products.items[0].id)).channelIds, ['1']);
  });
});

describe('requests', () => {
  beforeEach(async () => {
    await settled();
    receiver.reset();
  });

  test('an upload of a model, a new picture, a collection and a change that is rolled back tell nothing', async () => {
    const product = await shop.product();
    await settled();
    receiver.reset();
    const asset = await admin.upload('model.json', 'application/json', '{}');
    const channel = await shop.channel();
    await admin.ask(
      'mutation ($input: AssignAssetsToChannelInput!) { assignAssetsToChannel(input: $input) { id } }',
      { input: { assetIds: [asset], channelId: channel.id } },
    );
    await shop.deletePicture(asset, { everywhere: true });
    await shop.picture();
    const collection = {
      parentId: '1',
      filters: [],
      translations: [{ languageCode: 'en', name: 'all', slug: 'all', description: '' }],
    };
    await admin.ask('mutation ($input: CreateCollectionInput!) { createCollection(input: $input) { id } }', {
      input: collection,
    });
    await assert.rejects(shop.variants([{ productId: product }, { productId: product, taxCategoryId: '999' }]));
    await settled();
    const told = receiver.events.map(({ kind, action }) => `${kind} ${action}`);
    assert.deepEqual([...new Set(told)].toSorted(), ['channel created', 'product created']);
    assert.equal(receiver.events.filter((one) => one.kind === 'product').flatMap((one) => one.productIds).length, 1);
  });

  test('a hundred changes at once are one request a second, and each product is named', async () => {
    const began = Date.now();
    const ids = await Promise.all(Array.from({ length: 100 }, () => shop.product()));
    await receiver.until(() => {
      const told = new Set(receiver.events.flatMap((one) => one.productIds));
      return ids.every((id) => told.has(id));
    }, 'every product');
    const requests = receiver.requests.filter((one) => one.path === '/events');
    const seconds = Math.ceil((Date.now() - began) / 1000);
    assert.ok(requests.length <= seconds, `${requests.length} requests in ${seconds} s`);
  });

  test('while Shelfsight is down nothing is lost, and a repeat has the id of the first attempt', async () => {
    receiver.answers['/events'] = () => [503, {}];
    const id = await shop.product();
    const refused = await receiver.until(() => receiver.requests.find((one) => one.path === '/events'), 'an attempt');
    receiver.reset();
    await receiver.event('product', 'created', id);
    assert.equal(receiver.requests[0].id, refused.id);
    assert.deepEqual(receiver.requests[0].body, refused.body);
  });

  test('what is sent late names the channels of then, and none of a product that is gone altogether', async () => {
    const [id, gone] = [await shop.product(), await shop.product()];
    const channel = await shop.channel();
    await settled();
    receiver.reset();
    receiver.answers['/events'] = () => [503, {}];
    await shop.updateProduct({ id, enabled: false });
    await shop.updateProduct({ id: gone, enabled: false });
    const refused = await receiver.until(() => receiver.requests.find((one) => one.path === '/events'), 'an attempt');
    assert.deepEqual(refused.body.events[0].channelIds, ['1']);
    await shop.assignProduct(id, channel.id);
    await sql(database, 'DELETE FROM product_channels_channel WHERE "productId" = $1', [gone]);
    receiver.reset();
    assert.deepEqual((await receiver.event('product', 'updated', id)).channelIds, ['1', channel.id]);
    assert.equal((await receiver.event('product', 'updated', gone)).channelIds, null);
    assert.deepEqual((await receiver.event('productChannel', 'assigned', id)).channelIds, [channel.id]);
  });

  test('an event whose channels cannot be looked up is sent all the same, and names none', async () => {
    const id = await shop.product();
    await settled();
    receiver.reset();
    receiver.answers['/events'] = () => [503, {}];
    await shop.updateProduct({ id, enabled: false });
    await receiver.until(() => receiver.requests.find((one) => one.path === '/events'), 'an attempt');
    await sql(database, 'ALTER TABLE product_channels_channel RENAME TO elsewhere');
    try {
      receiver.reset();
      assert.equal((await receiver.event('product', 'updated', id)).channelIds, null);
    } finally {
      await sql(database, 'ALTER TABLE elsewhere RENAME TO product_channels_channel');
    }
  });

  test('what Shelfsight will never take does not hold up the rest', async () => {
    receiver.answers['/events'] = () => [422, { detail: 'no such kind' }];
    await shop.product();
    await receiver.until(() => receiver.requests.length > 0, 'an attempt');
    receiver.reset();
    const id = await shop.product();
    await receiver.event('product', 'created', id);
    assert.match(vendure.log, /events are given up: Shelfsight answers 422: no such kind/);
  });
});

test('at its start the server says that Shelfsight can be reached', () => {
  assert.match(vendure.log, /Connected to Shelfsight at http:/);
});
