'use strict';
// A script such as shops write to import products: no server, no job queue, and over at once.
const { LanguageCode, ProductService, RequestContextService, bootstrapWorker } = require('@vendure/core');
const { config } = require('../../dev-server/config');

async function main() {
  const { app } = await bootstrapWorker(config(process.env));
  const ctx = await app.get(RequestContextService).create({ apiType: 'admin' });
  const translations = [{ languageCode: LanguageCode.en, name: 'Imported', slug: 'imported', description: '' }];
  const { id } = await app.get(ProductService).create(ctx, { translations });
  await app.close();
  process.stdout.write(`${id}\n`);
}

void main();
