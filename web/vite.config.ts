// Every page is an entry of its own. Beside each file its gzip form is written, which the server sends to whoever takes it.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

const FOLDERS = ['players', 'demos'];

const pages = FOLDERS.flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.html'))
    .map((name) => join(folder, name)),
);

/** What the libraries ask for in return: their licences, beside their code. */
function licences(): Plugin {
  return {
    name: 'licences',
    generateBundle() {
      const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: Record<string, string> };
      const texts = Object.entries(dependencies).map(([name, version]) => {
        const folder = join('node_modules', name);
        const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
        if (!file) this.error(`${name} has no licence`);
        return `${name} ${version}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
      });
      this.emitFile({ type: 'asset', fileName: 'assets/licences.txt', source: texts.join('\n\n') });
    },
  };
}

function gzip(): Plugin {
  return {
    name: 'gzip',
    writeBundle({ dir = 'dist' }) {
      for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue;
        const path = join(entry.parentPath, entry.name);
        writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  // Pages also work below a prefix, behind a proxy.
  base: './',
  appType: 'mpa',
  build: {
    rollupOptions: { input: pages },
    // dash.js is that large; it is loaded by whoever plays DASH.
    chunkSizeWarningLimit: 1200,
  },
  plugins: [licences(), gzip()],
});
