'use strict';
// Starts a real Vendure and its worker in one process; says READY when both run. The administrator is
// superadmin/superadmin. Environment: PORT, DATABASE_URL or PGHOST/PGPORT/PGUSER/PGPASSWORD/PGDATABASE, DATA_DIR,
// SHELFSIGHT_URL and SHELFSIGHT_SECRET (without them the plugin only adds its fields), WITHOUT_PLUGIN=1,
// MAX_UPLOAD_BYTES, LOG_LEVEL; ONLY=server or ONLY=worker for one of the two; SYNCHRONIZE=no to leave the tables as
// they are.
process.env.VENDURE_DISABLE_TELEMETRY = 'true';
const { JobQueueService, bootstrap, bootstrapWorker } = require('@vendure/core');
const { config } = require('./config');

async function main() {
  const { ONLY } = process.env;
  if (ONLY === 'worker') {
    await (await bootstrapWorker(config(process.env))).startJobQueue();
  } else {
    const app = await bootstrap(config(process.env));
    if (ONLY !== 'server') await app.get(JobQueueService).start();
  }
  process.stdout.write('READY\n');
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
