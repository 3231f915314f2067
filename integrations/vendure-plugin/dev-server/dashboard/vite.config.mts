import { vendureDashboardPlugin } from '@vendure/dashboard/vite';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { defineConfig } from 'vite';

export default defineConfig({
  base: '/dashboard',
  build: { outDir: join(import.meta.dirname, 'dist') },
  plugins: [
    vendureDashboardPlugin({
      vendureConfigPath: pathToFileURL(join(import.meta.dirname, 'vendure-config.ts')),
      api: { host: 'auto', port: 'auto' },
      gqlOutputPath: join(import.meta.dirname, 'node_modules', '.cache', 'gql'),
    }),
  ],
});
