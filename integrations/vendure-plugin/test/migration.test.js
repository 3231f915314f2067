'use strict';
// An installation that exists already: its database was made without the plugin, and `synchronize` is off.
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { generateMigration, runMigrations } = require('@vendure/core');
const { transformSync } = require('esbuild');
const { config } = require('../dev-server/config');
const { Shop } = require('./support/shop');
const { Admin, Vendure, dropDatabase, environmentOf, newDatabase, sql } = require('./support/vendure');

const FIELDS =
  'modelBaseUrl modelVersion modelLastTrained modelTrainingStatus modelAutoRetrainEnabled modelRetrainTriggers mlModelJsonId mlModelBinId mlMetadataId';
const CHANNEL = `query ($id: ID!) { channel(id: $id) { code customFields { ${FIELDS} } } }`;

let database;
let folder;
let old;

before(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'shelfsight-migrations-'));
  database = await newDatabase();
  const vendure = await Vendure.start(database, { WITHOUT_PLUGIN: '1' });
  old = await (await Shop.prepare(await Admin.login(vendure.url))).channel();
  await vendure.stop();
});

after(async () => {
  fs.rmSync(folder, { recursive: true, force: true });
  if (database) await dropDatabase(database);
});

/** @returns {import('@vendure/core').VendureConfig} with the plugin, as in production */
function production(migrations = []) {
  const made = config({ ...environmentOf(database), SYNCHRONIZE: 'no' });
  return { ...made, dbConnectionOptions: { ...made.dbConnectionOptions, migrations } };
}

/** Writes a migration as `npx vendure migrate` does; returns its path, compiled, null where nothing has changed. */
async function generated(name) {
  const file = await generateMigration(production(), { name, outputDir: folder });
  if (!file) return null;
  const compiled = file.replace(/\.ts$/, '.js');
  fs.writeFileSync(compiled, transformSync(fs.readFileSync(file, 'utf8'), { loader: 'ts', format: 'cjs' }).code);
  return compiled;
}

test('a generated migration adds the nine columns and touches nothing else, and old channels keep working', async () => {
  const migration = await generated('shelfsight');
  const statements = fs
    .readFileSync(migration, 'utf8')
    .split('async down')[0]
    .match(/query\(`[^`]*`/g);
  assert.equal(statements.length, FIELDS.split(' ').length);
  for (const statement of statements) assert.match(statement, /ALTER TABLE "channel" ADD "customFields/);

  await runMigrations(production([migration]));
  assert.equal(await generated('again'), null);

  const vendure = await Vendure.start(database, { SYNCHRONIZE: 'no' });
  try {
    const admin = await Admin.login(vendure.url);
    const { channel } = await admin.ask(CHANNEL, { id: old.id });
    assert.deepEqual(channel, {
      code: old.token,
      customFields: {
        modelBaseUrl: null,
        modelVersion: null,
        modelLastTrained: null,
        modelTrainingStatus: 'idle',
        modelAutoRetrainEnabled: true,
        modelRetrainTriggers: ['product-added', 'product-deleted', 'image-changed', 'schedule', 'accuracy'],
        mlModelJsonId: null,
        mlModelBinId: null,
        mlMetadataId: null,
      },
    });
    const query =
      'mutation ($id: ID!) { updateChannel(input: { id: $id, customFields: { modelVersion: "v1.0.0" } }) { __typename } }';
    assert.equal((await admin.ask(query, { id: old.id })).updateChannel.__typename, 'Channel');
    const train = 'mutation ($id: ID!) { trainModelForChannel(channelId: $id) { id } }';
    const { errors } = await admin.answer(train, { id: old.id });
    assert.match(errors[0].message, /Shelfsight is not connected: give the plugin the `url` and `secret`/);
  } finally {
    await vendure.stop();
  }
  const jobs = await sql(database, `SELECT 1 FROM job_record WHERE "queueName" = 'shelfsight'`);
  assert.deepEqual(jobs, []);
});
