import type { PermissionDefinition } from '@vendure/core';

export interface ShelfsightOptions {
  /** Where Shelfsight answers this shop, such as `https://shelfsight.example/api/v1/vendure/<server>`. */
  url: string;
  /** Signs what is sent there: `whsec_` and base64. Keep it out of the repository. */
  secret: string;
}

/** Connects a shop to Shelfsight; without `init` it only adds the fields, so that they can be migrated first. */
export declare class ShelfsightPlugin {
  /** For `plugins` of the configuration. Throws if an option cannot be used. */
  static init(options: ShelfsightOptions): typeof ShelfsightPlugin;
}

/** `TrainModel`: start trainings of a channel, and see how they go. */
export declare const trainModel: PermissionDefinition;
