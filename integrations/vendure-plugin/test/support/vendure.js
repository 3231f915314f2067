'use strict';
// Real servers: Vendure in processes of its own, each with a database of its own on the PostgreSQL of TEST_DATABASE_URL.
const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');
const { Client } = require('pg');
const { parse } = require('pg-connection-string');

const ENTRY = path.join(__dirname, '..', '..', 'dev-server', 'index.js');
const IMPORT = path.join(__dirname, 'import.js');

/** A server ends when the tests do, however they end: then its standard input does, too. */
const CHILD = "process.stdin.on('end', () => process.exit()).resume(); require(process.argv[1])";
const READY_WITHIN_MS = 120_000;

/** @returns {object} how `pg` connects to a database of the test server */
function connectionOf(database) {
  const url = process.env.TEST_DATABASE_URL;
  if (!url)
    throw new Error(
      'Set TEST_DATABASE_URL to a PostgreSQL on which databases may be made, such as postgresql://postgres@127.0.0.1/postgres',
    );
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

/** @returns {NodeJS.ProcessEnv} of a process that uses a database */
function environmentOf(database) {
  const { host, port, user, password = '' } = connectionOf(database);
  const where = { PGHOST: host, PGPORT: `${port}`, PGUSER: user, PGPASSWORD: password, PGDATABASE: database };
  return { ...process.env, DATABASE_URL: '', ...where };
}

/** @returns {Promise<string>} id of the product that a script of its own has made */
async function runImport(database, env) {
  const { stdout } = await promisify(execFile)(process.execPath, [IMPORT], {
    env: { ...environmentOf(database), LOG_LEVEL: 'Error', ...env },
  });
  return stdout.trim();
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
    vendure.url = `http://127.0.0.1:${port}`;
    vendure.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'shelfsight-vendure-'));
    vendure.process = spawn(process.execPath, ['-e', CHILD, ENTRY], {
      env: { ...environmentOf(database), PORT: `${port}`, DATA_DIR: vendure.folder, LOG_LEVEL: 'Info', ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
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
    await admin.ask('mutation ($u: String!, $p: String!) { login(username: $u, password: $p) { __typename } }', {
      u: username,
      p: password,
    });
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

  /** @returns {Promise<any>} the data of a mutation with one `$file` */
  async send(query, name, type, bytes) {
    const form = new FormData();
    form.append('operations', JSON.stringify({ query, variables: { file: null } }));
    form.append('map', JSON.stringify({ 0: ['variables.file'] }));
    form.append('0', new Blob([bytes], { type }), name);
    const response = await fetch(this.url, { method: 'POST', headers: this.#headers(''), body: form });
    const { data, errors } = await response.json();
    if (errors) throw new Error(JSON.stringify(errors));
    return data;
  }

  /** @returns {Promise<string>} id of the asset that a file becomes */
  async upload(name, type, bytes) {
    const query =
      'mutation ($file: Upload!) { createAssets(input: [{ file: $file }]) { ... on Asset { id } ... on ErrorResult { message } } }';
    return (await this.send(query, name, type, bytes)).createAssets[0].id;
  }

  #headers(channelToken) {
    return {
      'apollo-require-preflight': 'true',
      ...(this.token && { authorization: `Bearer ${this.token}` }),
      ...(channelToken && { 'vendure-token': channelToken }),
    };
  }
}

module.exports = { Admin, Vendure, environmentOf, dropDatabase, newDatabase, runImport, sql };
