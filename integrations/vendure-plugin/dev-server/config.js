'use strict';
// A whole Vendure for tests and for trying things out; what it is told comes from the environment (see index.js).
const fs = require('node:fs');
const path = require('node:path');
const { DefaultJobQueuePlugin, DefaultLogger, LogLevel } = require('@vendure/core');
const { AssetServerPlugin } = require('@vendure/asset-server-plugin');
const express = require('express');
const { parse } = require('pg-connection-string');

const MEBIBYTE = 1024 * 1024;

/** @returns {object} how TypeORM finds the database: DATABASE_URL (a socket's folder may be its `host`), else PG* */
function database(env) {
  const from = env.DATABASE_URL
    ? parse(env.DATABASE_URL)
    : { host: env.PGHOST, port: env.PGPORT, user: env.PGUSER, password: env.PGPASSWORD, database: env.PGDATABASE };
  return {
    type: 'postgres',
    host: from.host ?? '127.0.0.1',
    port: Number(from.port || 5432),
    username: from.user ?? 'postgres',
    password: from.password ?? '',
    database: from.database ?? 'vendure',
  };
}

/** @returns {object[]} Shelfsight's plugin, unless it is to be left out */
function shelfsight(env) {
  if (env.WITHOUT_PLUGIN) return [];
  const { ShelfsightPlugin } = require('..');
  return [
    env.SHELFSIGHT_URL
      ? ShelfsightPlugin.init({ url: env.SHELFSIGHT_URL, secret: env.SHELFSIGHT_SECRET })
      : ShelfsightPlugin,
  ];
}

/** @returns {object[]} the dashboard under /dashboard, if `npm run build` was run in its folder */
function dashboard() {
  const dist = path.join(__dirname, 'dashboard', 'dist');
  if (!fs.existsSync(dist)) return [];
  const page = (request, response) => response.sendFile(path.join(dist, 'index.html'));
  return [express.static(dist), page].map((handler) => ({ route: 'dashboard', handler }));
}

/** @returns {import('@vendure/core').VendureConfig} */
function config(env) {
  const port = Number(env.PORT || 3000);
  const here = `http://127.0.0.1:${port}`;
  return {
    logger: new DefaultLogger({ level: LogLevel[env.LOG_LEVEL ?? 'Warn'], timestamp: true }),
    apiOptions: {
      hostname: '127.0.0.1',
      port,
      adminApiPath: 'admin-api',
      shopApiPath: 'shop-api',
      csrfPrevention: true,
      middleware: dashboard(),
      cors: { origin: true, credentials: true },
    },
    authOptions: {
      tokenMethod: ['bearer', 'cookie', 'api-key'],
      superadminCredentials: { identifier: 'superadmin', password: 'superadmin' },
      cookieOptions: { secret: 'only-for-tests' },
    },
    dbConnectionOptions: { ...database(env), synchronize: env.SYNCHRONIZE !== 'no', logging: false },
    assetOptions: {
      permittedFileTypes: ['image/*', '.json', '.bin'],
      uploadMaxFileSize: Number(env.MAX_UPLOAD_BYTES || 20 * MEBIBYTE),
    },
    paymentOptions: { paymentMethodHandlers: [] },
    customFields: {},
    plugins: [
      AssetServerPlugin.init({
        route: 'assets',
        assetUploadDir: path.join(env.DATA_DIR || path.join(__dirname, 'data'), 'assets'),
        assetUrlPrefix: `${here}/assets/`,
      }),
      DefaultJobQueuePlugin.init({ pollInterval: 200 }),
      ...shelfsight(env),
    ],
  };
}

module.exports = { config };
