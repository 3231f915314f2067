export interface Training {
  id: string;
  status: 'queued' | 'training' | 'ready' | 'idle' | 'failed' | 'cancelled';
  done: number;
  total: number;
  requestedBy: string | null;
  createdAt: string;
  endedAt: string | null;
  message: string;
}

/** What Shelfsight writes into a channel; a page that was opened before still has the older values. */
export const WRITTEN_FIELDS = [
  'modelBaseUrl',
  'modelVersion',
  'modelLastTrained',
  'modelTrainingStatus',
  'mlModelJsonId',
  'mlModelBinId',
  'mlMetadataId',
] as const;

export type WrittenFields = Record<(typeof WRITTEN_FIELDS)[number], string | null>;

const TRAINING = 'id status done total requestedBy createdAt endedAt message';

export const trainingQuery = `
  query ShelfsightTraining($channelId: ID!) {
    modelTraining(channelId: $channelId) { ${TRAINING} }
  }
`;

export const trainMutation = `
  mutation ShelfsightTrain($channelId: ID!) {
    trainModelForChannel(channelId: $channelId) { ${TRAINING} }
  }
`;

export const fieldsQuery = `
  query ShelfsightFields($channelId: ID!) {
    channel(id: $channelId) { id customFields { ${WRITTEN_FIELDS.join(' ')} } }
  }
`;
