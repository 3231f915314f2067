'use strict';
// The Admin API: start a training of a channel, and see how it goes.
const {
  AdministratorService,
  Allow,
  ConfigService,
  Ctx,
  ForbiddenError,
  Permission,
  RoleService,
} = require('@vendure/core');
const { Inject } = require('@nestjs/common');
const { Args, Mutation, Query, Resolver } = require('@nestjs/graphql');
const { GraphQLError, parse } = require('graphql');
const { __decorate, __metadata, __param } = require('tslib');
const { trainModel } = require('./access');
const { encoderOf } = require('./ids');
const { ShelfsightError } = require('./shelfsight');
const { SHELFSIGHT } = require('./tokens');

const TIMEOUT_MS = 15_000;

const schema = parse(`
  "A training of a channel's model in Shelfsight"
  type ModelTraining {
    "Shelfsight's number of it, which is no id of Vendure"
    id: String!
    "queued, training, ready, idle (too few products with photos), failed or cancelled"
    status: String!
    "What is being done, such as Looking at photos"
    stage: String
    done: Int!
    "Of which so many are done; 0 where nobody knows"
    total: Int!
    "The version it made"
    version: String
    error: String
    requestedBy: String
    createdAt: DateTime!
    endedAt: DateTime
    "All of it in one sentence"
    message: String!
  }

  extend type Query {
    "The latest training of a channel, null before the first"
    modelTraining(channelId: ID!): ModelTraining
  }

  extend type Mutation {
    "Asks for a training of a channel's model; where one waits already, that one comes back"
    trainModelForChannel(channelId: ID!): ModelTraining!
  }
`);

class TrainingResolver {
  constructor(shelfsight, administrators, roles, config) {
    this.shelfsight = shelfsight;
    this.administrators = administrators;
    this.roles = roles;
    this.encode = encoderOf(config);
  }

  async trainModelForChannel(ctx, channelId) {
    await this.#check(ctx, channelId, [trainModel.Permission, Permission.UpdateChannel]);
    const requestedBy = await this.#nameOf(ctx);
    return documentOf(await this.#post('/trainings', { channelId: this.encode(channelId), requestedBy }));
  }

  async modelTraining(ctx, channelId) {
    await this.#check(ctx, channelId, [trainModel.Permission, Permission.ReadChannel, Permission.UpdateChannel]);
    const { training } = await this.#post('/trainings/status', { channelId: this.encode(channelId) });
    return training ? documentOf(training) : null;
  }

  /** The permission counts in the channel that is asked for, whichever is the active one. */
  async #check(ctx, channelId, permissions) {
    if (!(await this.roles.userHasAnyPermissionsOnChannel(ctx, channelId, permissions))) throw new ForbiddenError();
  }

  async #nameOf(ctx) {
    const administrator = await this.administrators.findOneByUserId(ctx, ctx.activeUserId);
    const name = administrator ? `${administrator.firstName} ${administrator.lastName}`.trim() : '';
    return name || ctx.session?.user?.identifier || 'Vendure';
  }

  async #post(path, content) {
    if (!this.shelfsight) {
      throw refused(
        'Shelfsight is not connected: give the plugin the `url` and `secret` that `shelfsight vendure connect` prints.',
      );
    }
    try {
      return await this.shelfsight.post(path, content, { timeoutMs: TIMEOUT_MS });
    } catch (error) {
      if (error instanceof ShelfsightError) throw refused(sentenceOf(error, content.channelId));
      throw error;
    }
  }
}

/** @param {any} training as Shelfsight describes it */
function documentOf(training) {
  return {
    id: String(training.id),
    status: training.status,
    stage: training.stage || null,
    done: training.done ?? 0,
    total: training.total ?? 0,
    version: training.version ?? null,
    error: training.error ?? null,
    requestedBy: training.requestedBy?.replace(/^vendure:/, '') ?? null, // Shelfsight says where one asked from
    createdAt: new Date(training.createdAt),
    endedAt: training.endedAt ? new Date(training.endedAt) : null,
    message: messageOf(training),
  };
}

/** @param {any} training */
function messageOf({ status, stage, done, total, version, error }) {
  switch (status) {
    case 'queued':
      return 'Waiting for its turn';
    case 'training':
      return total > 0 ? `${stage || 'Training'}: ${done} of ${total}` : stage || 'Training';
    case 'ready':
      return `Version ${version} is ready`;
    case 'cancelled':
      return 'Cancelled';
    default: // idle or failed
      return error || 'Failed';
  }
}

/**
 * @param {{ status: number | null, message: string }} error
 * @param {string} channelId
 */
function sentenceOf(error, channelId) {
  if (error.status !== 404) return error.message;
  return `Channel ${channelId} is not connected to Shelfsight: run \`shelfsight vendure connect\` for it, or check the plugin's \`url\`.`;
}

/** @param {string} message */
function refused(message) {
  return new GraphQLError(message, { extensions: { code: 'SHELFSIGHT_ERROR' } });
}

__decorate(
  [
    Resolver(),
    __param(0, Inject(SHELFSIGHT)),
    __param(1, Inject(AdministratorService)),
    __param(2, Inject(RoleService)),
    __param(3, Inject(ConfigService)),
  ],
  TrainingResolver,
);
decorateMethod('trainModelForChannel', Mutation());
decorateMethod('modelTraining', Query());

/** Whoever is logged in may ask: the permission is looked up in the channel that is asked for. */
function decorateMethod(name, kind) {
  const types = __metadata('design:paramtypes', [Object, Object]);
  const args = [__param(0, Ctx()), __param(1, Args('channelId'))];
  __decorate([kind, Allow(Permission.Authenticated), ...args, types], TrainingResolver.prototype, name, null);
}

module.exports = { TrainingResolver, schema };
