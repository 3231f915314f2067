import {
  Badge,
  Button,
  DateTime,
  Progress,
  api,
  toast,
  useAuth,
  useMutation,
  useQuery,
  useQueryClient,
} from '@vendure/dashboard';
import { useEffect } from 'react';

import { Training, WRITTEN_FIELDS, WrittenFields, fieldsQuery, trainMutation, trainingQuery } from './queries';

const WHILE_RUNNING_MS = 2_000;
const OTHERWISE_MS = 30_000;
const OFTEN = 15; // times that the fields are looked at soon after a training: its model is still on its way
const MAY_TRAIN = ['TrainModel', 'UpdateChannel'];

const BADGES = {
  queued: ['secondary', 'Waiting'],
  training: ['secondary', 'Training'],
  ready: ['success', 'Ready'],
  idle: ['warning', 'Too few products'],
  failed: ['destructive', 'Failed'],
  cancelled: ['outline', 'Cancelled'],
} as const;

interface Props {
  channelId: string;
  form: any;
}

/** What the server says, without what its client puts in front. */
const sentenceOf = (error: Error) => error.message.replace(/^GraphQL Request Error: /, '');

const isRunning = (training?: Training | null) => training?.status === 'queued' || training?.status === 'training';

/** Says how the channel's model is, and starts a training. */
export function ModelBlock({ channelId, form }: Readonly<Props>) {
  const queryKey = ['shelfsight', 'training', channelId];
  const client = useQueryClient();
  const mayTrain = useMayTrain(channelId);
  const { data: training, error } = useQuery({
    queryKey,
    queryFn: async () => ((await api.query(trainingQuery, { channelId })) as any).modelTraining as Training | null,
    refetchInterval: ({ state }) => (isRunning(state.data) ? WHILE_RUNNING_MS : OTHERWISE_MS),
    retry: false,
  });
  const fields = useWrittenFields(channelId, training?.endedAt, form);
  const train = useMutation({
    mutationFn: async () =>
      ((await api.mutate(trainMutation, { channelId })) as any).trainModelForChannel as Training,
    onSuccess: (started) => client.setQueryData(queryKey, started),
    onError: (refusal: Error) => toast.error('The training did not start', { description: sentenceOf(refusal) }),
  });

  return (
    <div className="space-y-4">
      {error ? (
        <p className="text-sm text-destructive break-words" role="alert">
          {sentenceOf(error)}
        </p>
      ) : (
        <State training={training} />
      )}
      <dl className="grid grid-cols-[auto_1fr] gap-x-4 gap-y-1 text-sm">
        <dt className="text-muted-foreground">Version</dt>
        <dd>{fields?.modelVersion ?? 'none yet'}</dd>
        <dt className="text-muted-foreground">Last trained</dt>
        <dd>{fields?.modelLastTrained ? <DateTime value={fields.modelLastTrained} /> : 'never'}</dd>
      </dl>
      {mayTrain && (
        <Button
          type="button"
          className="w-full"
          disabled={isRunning(training) || train.isPending}
          onClick={() => train.mutate()}
        >
          Train AI model
        </Button>
      )}
    </div>
  );
}

function State({ training }: Readonly<{ training?: Training | null }>) {
  if (training === undefined) return <p className="text-sm text-muted-foreground">Asking Shelfsight…</p>;
  if (training === null) return <p className="text-sm text-muted-foreground">Not trained yet.</p>;
  const [variant, word] = BADGES[training.status];
  return (
    <div className="space-y-2" role="status">
      <Badge variant={variant}>{word}</Badge>
      <p className="text-sm break-words">{training.message}</p>
      {training.status === 'training' && training.total > 0 && (
        <Progress value={(100 * training.done) / training.total} aria-label="Progress of the training" />
      )}
      {isRunning(training) && training.requestedBy && (
        <p className="text-xs text-muted-foreground">Asked for by {training.requestedBy}</p>
      )}
    </div>
  );
}

/** As the server decides it: the permission counts in the channel that is shown, not in the active one. */
function useMayTrain(channelId: string) {
  const { channels } = useAuth();
  const permissions: readonly string[] = channels?.find((one) => one.id === channelId)?.permissions ?? [];
  return MAY_TRAIN.some((one) => permissions.includes(one));
}

/**
 * The fields as they are now. They are put into the page's form too: it sends every field back when it is saved, and
 * would otherwise bring back the model from before the training.
 */
function useWrittenFields(
  channelId: string,
  endedAt: string | null | undefined,
  form: any,
): WrittenFields | undefined {
  const { data } = useQuery({
    queryKey: ['shelfsight', 'fields', channelId, endedAt],
    queryFn: async () => ((await api.query(fieldsQuery, { channelId })) as any).channel.customFields as WrittenFields,
    refetchInterval: ({ state }) => (state.dataUpdateCount < OFTEN ? WHILE_RUNNING_MS : OTHERWISE_MS),
    placeholderData: (before: WrittenFields | undefined) => before,
  });
  useEffect(() => {
    if (!data || !form) return;
    for (const name of WRITTEN_FIELDS) {
      const path = `customFields.${name}`;
      if (!form.getFieldState(path).isDirty) form.resetField(path, { defaultValue: data[name] });
    }
  }, [data, form]);
  return data;
}
