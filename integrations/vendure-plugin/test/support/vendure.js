'use strict';
// Real servers: Vendure in processes of its own, each with a database of its own on the PostgreSQL of TEST_DATABASE_URL.
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { Client } = require('pg');
const { parse } = require('pg-connection-string');

const ENTRY = path.join(__dirname, '..', '..', 'dev-server', 'index.js');
const READY_WITHIN_MS = 120_000;

/** @returns {object} how `pg` connects to a database of the test server */
function connectionOf(database) {
  const url = process.env.TEST_DATABASE_URL;
  if (!url) throw new Error('Set TEST_DATABASE_URL to a PostgreSQL on which databases may be made, such as postgresql://postgres@127.0.0.1/postgres');
  const { host, port, user, password } = parse(url);
  return { host, port: Number(port || 5432), user, password, database };
}

/** @returns {Promise<object[]>} the rows of one statement */
async function sql(database, statement, values = []) {
  const client = new Client(connectionOf(database));
  await client.connect();
  try {
    return (await client.query(statement, values)).rows;
  } finally {
    await client.end();
  }
}

/** @returns {Promise<string>} name of a new database */
async function newDatabase() {
  const name = `vendure_${process.pid}_${Math.random().toString(36).slice(2, 8)}`;
  await sql('postgres', `CREATE DATABASE ${name}`);
  return name;
}

async function dropDatabase(name) {
  await sql('postgres', `DROP DATABASE ${name} WITH (FORCE)`);
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

class Vendure {
  log = '';

  /** @param {Record<string, string>} env besides where the database is */
  static async start(database, env = {}) {
    const vendure = new Vendure();
    const port = await freePort();
    const { host, user, password, port: pgPort } = connectionOf(database);
    vendure.url = `http://127.0.0.1:${port}`;
    vendure.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'shelfsight-vendure-'));
    const where = { PORT: `${port}`, PGHOST: host, PGPORT: `${pgPort}`, PGUSER: user, PGPASSWORD: password ?? '', PGDATABASE: database };
    vendure.process = spawn(process.execPath, [ENTRY], {
      env: { ...process.env, DATABASE_URL: '', ...where, DATA_DIR: vendure.folder, LOG_LEVEL: 'Info', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    vendure.ended = once(vendure.process, 'exit');
    await vendure.#ready();
    return vendure;
  }

  #ready() {
    return new Promise((resolve, reject) => {
      const fail = (why) => reject(new Error(`Vendure ${why}:\n${this.log.slice(-3000)}`));
      const late = setTimeout(() => fail('did not start in time'), READY_WITHIN_MS);
      const read = (chunk) => {
        this.log += chunk;
        if (this.log.includes('READY\n')) resolve(clearTimeout(late));
      };
      this.process.stdout.on('data', read);
      this.process.stderr.on('data', read);
      void this.ended.then(() => fail('ended'));
    });
  }

  /** @param {NodeJS.Signals} signal */
  async stop(signal = 'SIGTERM') {
    this.process.kill(signal);
    await this.ended;
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What may be asked of a Vendure as one administrator. */
class Admin {
  constructor(url, token = '') {
    this.url = `${url}/admin-api`;
    this.token = token;
  }

  static async login(url, username = 'superadmin', password = username) {
    const admin = new Admin(url);
    await admin.ask('mutation ($u: String!, $p: String!) { login(username: $u, password: $p) { __typename } }', { u: username, p: password });
    return admin;
  }

  /** @returns {Promise<{ data?: any, errors?: any[] }>} what is answered, refusals too */
  async answer(query, variables = {}, channelToken = '') {
    const headers = { 'content-type': 'application/json', ...this.#headers(channelToken) };
    const response = await fetch(this.url, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
    this.token = response.headers.get('vendure-auth-token') ?? this.token;
    return response.json();
  }

  /** @returns {Promise<any>} the data */
  async ask(query, variables = {}, channelToken = '') {
    const { data, errors } = await this.answer(query, variables, channelToken);
    if (errors) throw new Error(JSON.stringify(errors));
    return data;
  }

  /** @returns {Promise<string>} id of the asset that a file becomes */
  async upload(name, type, bytes) {
    const query = 'mutation ($input: [CreateAssetInput!]!) { createAssets(input: $input) { ... on Asset { id } ... on ErrorResult { message } } }';
    const form = new FormData();
    form.append('operations', JSON.stringify({ query, variables: { input: [{ file: null }] } }));
    form.append('map', JSON.stringify({ 0: ['variables.input.0.file'] }));
    form.append('0', new Blob([bytes], { type }), name);
    const response = await fetch(this.url, { method: 'POST', headers: this.#headers(''), body: form });
    const { data, errors } = await response.json();
    if (!data?.createAssets[0].id) throw new Error(JSON.stringify(errors ?? data));
    return data.createAssets[0].id;
  }

  #headers(channelToken) {
    return {
      'apollo-require-preflight': 'true',
      ...(this.token && { authorization: `Bearer ${this.token}` }),
      ...(channelToken && { 'vendure-token': channelToken }),
    };
  }
}

module.exports = { Admin, Vendure, connectionOf, dropDatabase, newDatabase, sql };
