'use strict';
// A script such as shops write to import products: no server, no job queue, and over at once. Prints the product's id.
const { Importer, ProductService, RequestContextService, bootstrapWorker } = require('@vendure/core');
const { lastValueFrom } = require('rxjs');
const { config } = require('../../dev-server/config');
const { csvOf } = require('./shop');

async function main() {
  const { app } = await bootstrapWorker(config(process.env));
  const ctx = await app.get(RequestContextService).create({ apiType: 'admin' });
  const { errors } = await lastValueFrom(app.get(Importer).parseAndImport(csvOf('from-a-script'), ctx));
  if (errors.length > 0) throw new Error(errors.join('\n'));
  const { id } = await app.get(ProductService).findOneBySlug(ctx, 'from-a-script');
  await app.close();
  process.stdout.write(`${id}\n`);
}

void main();
