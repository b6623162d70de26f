// Starts headless Chromium for the scripts beside this one, and serves them a page of their own. What they do with it is theirs.

import { createServer } from 'node:http';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** What plays may begin without a click. */
export const AUTOPLAY = ['--autoplay-policy=no-user-gesture-required'];

/** There is a camera with a moving picture and a microphone that beeps, and nobody asks whether they may be used. */
export const FAKE_DEVICES = [
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  // Addresses of this machine are not hidden behind mDNS names, which nobody here resolves.
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  '--allow-loopback-in-peer-connection',
];

/** Has `work` use a fresh browser; nothing of it stays behind. */
export async function browse(flags, options, work) {
  const profile = await mkdtemp(join(tmpdir(), 'oxcast-chromium-'));
  try {
    const launch = { executablePath: CHROMIUM, headless: true, args: [...FLAGS, ...flags], ...options };
    const context = await chromium.launchPersistentContext(profile, launch);
    try {
      return await work(context);
    } finally {
      await context.close();
    }
  } finally {
    await rm(profile, { recursive: true, force: true });
  }
}

const BARS = await readFile(new URL('bars.js', import.meta.url));

/** Has `work` use a page of an origin of its own, with this text, that finds `bars.js` there. `more` may answer other paths: `[type, body]`, or nothing. */
export async function onPage(context, html, work, more = async () => undefined) {
  const server = createServer(async (request, response) => {
    const [type, body] = request.url === '/bars.js' ? ['text/javascript', BARS] : ((await more(request.url)) ?? ['text/html', html]);
    response.setHeader('Content-Type', type);
    response.end(body);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  try {
    const page = context.pages()[0] ?? (await context.newPage());
    const complaints = listen(page);
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    return await work(page, complaints);
  } finally {
    server.close();
  }
}

/** What the page complains about, as it comes. */
export function listen(page) {
  const complaints = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  return complaints;
}
