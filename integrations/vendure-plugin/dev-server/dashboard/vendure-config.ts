// What the dashboard's build looks at; ../index.js is the server that serves it and that it talks to.
import { ShelfsightPlugin } from '@shelfsight/vendure-plugin';
import { VendureConfig } from '@vendure/core';

export const config: VendureConfig = {
  apiOptions: { port: 3000, adminApiPath: 'admin-api', shopApiPath: 'shop-api' },
  authOptions: { tokenMethod: ['bearer', 'cookie'] },
  dbConnectionOptions: { type: 'postgres' },
  paymentOptions: { paymentMethodHandlers: [] },
  customFields: {},
  plugins: [ShelfsightPlugin],
};
