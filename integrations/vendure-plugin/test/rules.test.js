'use strict';
// What needs no server.
const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { ShelfsightPlugin } = require('..');
const { Asset, ChangeChannelEvent, RequestContext, preBootstrapConfig, resetConfig } = require('@vendure/core');
const { CHANNELS_MOST, Changes, IDS_MOST, changeOf } = require('../lib/changes');
const { IN_REQUEST_MOST, gathered, located, toLocate } = require('../lib/channels');
const { channelFields } = require('../lib/fields');
const { checkOptions } = require('../lib/options');
const { pauseMs, refusedForGood, tooOld } = require('../lib/retrying');
const { headersOf } = require('../lib/shelfsight');

const URL_ = 'https://shelfsight.example/api/v1/vendure/1';
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const AT = new Date('2026-11-20T12:00:00Z');

describe('options', () => {
  test('an address keeps its path and loses slashes at its end', () => {
    assert.equal(checkOptions({ url: `${URL_}/`, secret: SECRET }).url, URL_);
  });

  test('an address that cannot be used is refused at the start, with what to do', () => {
    for (const url of [
      'shelfsight.example',
      'ftp://shelfsight.example/1',
      '/api/v1/vendure/1',
      `${URL_}?a=1`,
      'https://me:pass@shelfsight.example/1',
    ]) {
      assert.throws(
        () => ShelfsightPlugin.init({ url, secret: SECRET }),
        /`url` is no address such as .*`shelfsight vendure connect` prints/,
      );
    }
    assert.throws(() => ShelfsightPlugin.init({ secret: SECRET }), /`url` is missing/);
  });

  test('a secret that was not copied whole is refused at the start, and not printed', () => {
    for (const secret of [
      'whsec_',
      'whsec_c2hvcnQ=',
      SECRET.slice(0, -1),
      SECRET.slice('whsec_'.length),
      `${SECRET} `,
    ]) {
      assert.throws(
        () => ShelfsightPlugin.init({ url: URL_, secret }),
        (error) => {
          assert.match(error.message, /`secret` is not whole/);
          assert.ok(!error.message.includes(secret.slice(6, 30) || 'nothing'));
          return true;
        },
      );
    }
    assert.throws(() => ShelfsightPlugin.init({ url: URL_ }), /`secret` is missing/);
  });
});

test('the signature is that of Standard Webhooks', () => {
  const key = Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64');
  const headers = headersOf(key, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}');
  assert.equal(headers['webhook-signature'], 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
});

describe('fields', () => {
  /** @returns {Promise<string[]>} the names of a channel's fields in a shop that has some already */
  async function namesWith(own) {
    try {
      const made = await preBootstrapConfig({
        customFields: { Channel: own },
        plugins: [ShelfsightPlugin],
        dbConnectionOptions: { type: 'postgres' },
      });
      return made.customFields.Channel.map(({ name }) => name);
    } finally {
      resetConfig();
    }
  }

  test('a field that the shop has already is not added again, and stays as it is', async () => {
    const own = { name: 'modelVersion', type: 'string', nullable: true, public: false };
    const names = await namesWith([own, { name: 'colour', type: 'string' }]);
    const wanted = [...channelFields().map(({ name }) => name), 'colour'];
    assert.deepEqual(names.toSorted(), wanted.toSorted());
  });

  test('a field of the shop that cannot hold what Shelfsight writes there is refused by name', async () => {
    const cases = [
      { name: 'modelLastTrained', type: 'string' },
      { name: 'modelRetrainTriggers', type: 'string' },
      { name: 'modelVersion', type: 'string', readonly: true },
      { name: 'mlModelJsonId', type: 'string', internal: true },
    ];
    for (const own of cases) {
      await assert.rejects(namesWith([own]), (error) =>
        error.message.startsWith(`The custom field Channel.${own.name} exists already but`),
      );
    }
  });
});

describe('changes', () => {
  const product = { kind: 'product', action: 'updated', channelIds: null, userId: '1' };

  test('the same is told once, and what differs stays apart, in the order it came', () => {
    const changes = new Changes();
    changes.add({ ...product, action: 'created', productIds: ['7'] }, AT);
    changes.add({ ...product, productIds: ['7'] }, AT);
    changes.add({ ...product, productIds: ['7', '8'] }, AT);
    changes.add({ ...product, userId: '2', productIds: ['7'] }, AT);
    const [events] = changes.drain();
    assert.deepEqual(
      events.map((one) => [one.action, one.userId, one.productIds]),
      [
        ['created', '1', ['7']],
        ['updated', '1', ['7', '8']],
        ['updated', '2', ['7']],
      ],
    );
    assert.deepEqual(events[0], {
      kind: 'product',
      action: 'created',
      productIds: ['7'],
      channelIds: null,
      userId: '1',
      at: '2026-11-20T12:00:00.000Z',
    });
    assert.equal(changes.empty, true);
  });

  test('a request has so many ids at most, and none is lost', () => {
    const changes = new Changes();
    const ids = Array.from({ length: 2 * IDS_MOST + 1 }, (_, n) => `${n}`);
    changes.add({ ...product, productIds: ids }, AT);
    changes.add({ kind: 'channel', action: 'updated', productIds: [], channelIds: ['2'], userId: null }, AT);
    const requests = changes.drain();
    const sizes = requests.map((events) => events.flatMap((one) => one.productIds).length);
    assert.deepEqual(sizes, [IDS_MOST, IDS_MOST, 1]);
    assert.deepEqual(
      requests.flat().flatMap((one) => one.productIds),
      ids,
    );
  });

  test('a product that was inserted without an event is told of, and one with an event only once', () => {
    const changes = new Changes();
    changes.inserted('7', AT);
    changes.inserted('8', AT);
    changes.add({ ...product, action: 'created', productIds: ['7'] }, AT);
    assert.deepEqual(
      changes.drain()[0].map((one) => [one.userId, one.productIds]),
      [
        ['1', ['7']],
        [null, ['8']],
      ],
    );
  });
});

describe('channels', () => {
  const event = { kind: 'product', action: 'updated', productIds: ['7'], channelIds: null, userId: '1', at: 'then' };
  const many = (count) => Array.from({ length: count }, (_, n) => `${n}`);

  test('each product is looked up once, and none whose event says where it is or was', () => {
    const events = [
      { ...event, productIds: ['7', '8'] },
      { ...event, action: 'created' },
      { ...event, action: 'deleted', productIds: ['9'] },
      { ...event, kind: 'productChannel', action: 'assigned', productIds: ['10'], channelIds: ['2'] },
      { ...event, kind: 'assetChannel', action: 'removed', productIds: ['11'] },
    ];
    assert.deepEqual(toLocate(events), ['7', '8', '9']);
    const here = new Map(many(12).map((id) => [id, ['1']]));
    assert.deepEqual(located(events, here).slice(3), events.slice(3));
  });

  test('an event is divided by channels, and nobody knows where a product is that was not found', () => {
    const channelsOf = new Map([
      ['7', ['1', '2']],
      ['8', ['1']],
      ['9', ['1', '2']],
    ]);
    const told = located([{ ...event, productIds: ['7', '8', '9', '10', '11'] }], channelsOf);
    assert.deepEqual(told, [
      { ...event, productIds: ['7', '9'], channelIds: ['1', '2'] },
      { ...event, productIds: ['8'], channelIds: ['1'] },
      { ...event, productIds: ['10', '11'] },
    ]);
  });

  test('more channels than Shelfsight takes are not named, in one event or in all', () => {
    const channelsOf = new Map([
      ['7', many(CHANNELS_MOST + 1)],
      ['8', many(CHANNELS_MOST)],
    ]);
    const full = IN_REQUEST_MOST / CHANNELS_MOST;
    const events = Array.from({ length: full + 1 }, () => ({ ...event, productIds: ['8'] }));
    const named = located([event, ...events], channelsOf).map((one) => one.channelIds?.length);
    assert.deepEqual(named, [undefined, ...Array.from({ length: full }, () => CHANNELS_MOST), undefined]);
  });

  test('of a product whose rows may not all have been read nobody knows', () => {
    const rows = ['1', '2', '3'].map((channelId) => ({ productId: channelId === '3' ? '8' : '7', channelId }));
    const seven = ['7', ['1', '2']];
    const eight = ['8', ['3']];
    assert.deepEqual([...gathered(rows, 4)], [seven, eight]);
    assert.deepEqual([...gathered(rows, 3)], [seven]);
    assert.deepEqual([...gathered([], 3)], []);
  });

  test('a picture that leaves more channels than can be named is looked for in all, and does not fill a job', () => {
    const leaving = (count) =>
      new ChangeChannelEvent(RequestContext.empty(), new Asset({ id: 1 }), many(count), 'removed', Asset);
    assert.equal(changeOf(leaving(CHANNELS_MOST), ['7']).channelIds.length, CHANNELS_MOST);
    assert.equal(changeOf(leaving(CHANNELS_MOST + 1), ['7']).channelIds, null);
    const changes = new Changes();
    for (const userId of ['1', '2']) {
      const channelIds = many(IDS_MOST);
      changes.add({ kind: 'assetChannel', action: 'removed', productIds: ['7'], channelIds, userId }, AT);
    }
    assert.equal(changes.drain().length, 2);
  });
});

describe('retrying', () => {
  test('pauses double up to ten minutes, and are spread', () => {
    assert.deepEqual(
      [1, 2, 3, 20].map((failures) => pauseMs(failures, 0)),
      [2_000, 4_000, 8_000, 600_000],
    );
    assert.equal(pauseMs(20, 1), 480_000);
  });

  test('only what is wrong with the request itself is for good', () => {
    assert.deepEqual(
      [400, 413, 422].map((status) => refusedForGood({ status })),
      [true, true, true],
    );
    assert.deepEqual(
      [null, 401, 404, 410, 429, 500, 503].some((status) => refusedForGood({ status })),
      false,
    );
  });

  test('a job is given up after three days', () => {
    const after = (hours) => new Date(AT.getTime() + hours * 3600_000);
    assert.deepEqual(
      [71, 73].map((hours) => tooOld(AT, after(hours))),
      [false, true],
    );
  });
});
