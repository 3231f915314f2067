import { defineDashboardExtension } from '@vendure/dashboard';

import { ModelBlock } from './model-block';

defineDashboardExtension({
  pageBlocks: [
    {
      id: 'shelfsight-model',
      title: 'AI model',
      location: { pageId: 'channel-detail', column: 'side', position: { blockId: 'main-form', order: 'before' } },
      shouldRender: ({ entity }) => Boolean(entity?.id), // not while a channel is being made
      component: ({ context }) => <ModelBlock channelId={context.entity.id} form={context.form} />,
    },
  ],
});
