'use strict';
const { PermissionDefinition } = require('@vendure/core');

const trainModel = new PermissionDefinition({
  name: 'TrainModel',
  description: "Start trainings of a channel's model in Shelfsight, and see how they go",
});

module.exports = { trainModel };
