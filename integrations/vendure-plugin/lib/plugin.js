'use strict';
const { Logger, PluginCommonModule, VendurePlugin } = require('@vendure/core');
const { Inject } = require('@nestjs/common');
const { __decorate, __param } = require('tslib');
const { trainModel } = require('./access');
const { missingFields } = require('./fields');
const { checkOptions } = require('./options');
const { Sender } = require('./sender');
const { Shelfsight } = require('./shelfsight');
const { CONTEXT, SHELFSIGHT } = require('./tokens');
const { TrainingResolver, schema } = require('./trainings');

const PING_TIMEOUT_MS = 10_000;

/** Connects a shop to Shelfsight; without `init` it only adds the fields, so that they can be migrated first. */
class ShelfsightPlugin {
  /** @type {{ url: string, key: Buffer } | null} */
  static #options = null;

  constructor(shelfsight, sender) {
    this.shelfsight = shelfsight;
    this.sender = sender;
  }

  /**
   * @param {import('../index').ShelfsightOptions} options
   * @returns {typeof ShelfsightPlugin} for `plugins` of the configuration
   * @throws {Error} an option cannot be used
   */
  static init(options) {
    ShelfsightPlugin.#options = checkOptions(options);
    return ShelfsightPlugin;
  }

  /** What reaches Shelfsight, null without options. */
  static shelfsight() {
    return ShelfsightPlugin.#options && new Shelfsight(ShelfsightPlugin.#options);
  }

  async onApplicationBootstrap() {
    if (!this.shelfsight) return;
    await this.sender.start();
    void this.#ping();
  }

  async onModuleDestroy() {
    if (this.shelfsight) await this.sender.stop();
  }

  async #ping() {
    try {
      await this.shelfsight.post('/ping', {}, { timeoutMs: PING_TIMEOUT_MS });
      Logger.info(`Connected to Shelfsight at ${this.shelfsight.url}`, CONTEXT);
    } catch (error) {
      Logger.warn(`${error.message} Changes wait in the job queue until then.`, CONTEXT);
    }
  }
}

// Decorated by name because the dashboard's build finds plugins, and their `dashboard`, by looking for this call.
__decorate(
  [
    VendurePlugin({
      imports: [PluginCommonModule],
      providers: [{ provide: SHELFSIGHT, useFactory: ShelfsightPlugin.shelfsight }, Sender],
      adminApiExtensions: { schema, resolvers: [TrainingResolver] },
      configuration: (config) => {
        const own = config.customFields.Channel ?? [];
        config.customFields.Channel = [...own, ...missingFields(own)];
        config.authOptions.customPermissions.push(trainModel);
        return config;
      },
      compatibility: '^3.7.0',
      dashboard: '../dashboard/index.tsx',
    }),
    __param(0, Inject(SHELFSIGHT)),
    __param(1, Inject(Sender)),
  ],
  ShelfsightPlugin,
);

module.exports = { ShelfsightPlugin };
