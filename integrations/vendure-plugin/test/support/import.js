'use strict';
// A script such as shops write to import products: no server, no job queue, and over at once. Prints the product's id.
const assert = require('node:assert/strict');
const { Importer, ProductService, RequestContextService, bootstrapWorker } = require('@vendure/core');
const { config } = require('../../dev-server/config');
const { csvOf } = require('./shop');

async function main() {
  const { app } = await bootstrapWorker(config(process.env));
  const ctx = await app.get(RequestContextService).create({ apiType: 'admin' });
  await app
    .get(Importer)
    .parseAndImport(csvOf('from-a-script'), ctx)
    .forEach(({ errors }) => assert.deepEqual(errors, []));
  const { id } = await app.get(ProductService).findOneBySlug(ctx, 'from-a-script');
  await app.close();
  process.stdout.write(`${id}\n`);
}

void main();
