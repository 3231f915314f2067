'use strict';
// Vendure as shops run it: the server and the worker are processes of their own, and either may end at any time.
const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { Receiver, SECRET } = require('./support/receiver');
const { Shop } = require('./support/shop');
const { Admin, Vendure, dropDatabase, newDatabase, runImport, sql } = require('./support/vendure');

let database;
let receiver;
let env;

/** @type {Vendure[]} */
const running = [];

before(async () => {
  receiver = await Receiver.start();
  database = await newDatabase();
  env = { SHELFSIGHT_URL: receiver.url, SHELFSIGHT_SECRET: SECRET };
});

after(async () => {
  await Promise.all(running.map((one) => one.stop('SIGKILL')));
  await receiver?.stop();
  if (database) await dropDatabase(database);
});

async function start(only) {
  const vendure = await Vendure.start(database, { ...env, ONLY: only });
  running.push(vendure);
  return vendure;
}

/** @returns {Promise<{ state: string, data: { id: string, events: any[] } }[]>} */
async function jobs() {
  const rows = await sql(database, `SELECT state, data FROM job_record WHERE "queueName" = 'shelfsight'`);
  return rows.map(({ state, data }) => ({ state, data: JSON.parse(data) }));
}

/** @returns {Promise<string[] | null>} the ids of the messages that wait, null until they name these products */
async function waiting(...productIds) {
  const found = await jobs();
  const named = found.flatMap(({ data }) => data.events).flatMap((event) => event.productIds);
  return productIds.every((id) => named.includes(id)) ? found.map(({ data }) => data.id) : null;
}

test('events of the server and of a script wait for a worker, and outlast workers that are killed or stopped', async () => {
  receiver.answers['/events'] = () => [503, {}];
  const server = await start('server');
  const made = await (await Shop.prepare(await Admin.login(server.url))).product();
  const imported = await runImport(database, env);
  const queued = await receiver.until(() => waiting(made, imported), 'a job for each');
  assert.deepEqual(receiver.events, []);

  await sql(
    database,
    `UPDATE job_record SET state = 'RUNNING', "startedAt" = now() - interval '1 day' WHERE "queueName" = 'shelfsight'`,
  );
  const worker = await start('worker');
  const refused = await receiver.until(() => receiver.requests.find((one) => one.path === '/events'), 'an attempt');
  assert.ok(queued.includes(refused.id));
  await worker.stop();
  const states = (await jobs()).map(({ state }) => state);
  assert.equal(states.includes('RUNNING'), false, `${states}`);

  receiver.reset();
  await start('worker');
  await receiver.event('product', 'created', made);
  await receiver.event('product', 'created', imported);
});
