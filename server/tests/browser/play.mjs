// Plays a live stream in headless Chromium, and prints what a viewer has seen as one line of JSON.
//
//   node play.mjs <URL> [seconds to play] [screenshot.png]
//
// FLV and MPEG-TS, over HTTP or WebSocket, are played with mpegts.js, which opens the stream anew when it has ended; HLS with hls.js;
// MP3 and AAC with an <audio> element. The path tells which. The page comes from a server of its own, so it has another origin than the stream,
// and CORS counts.

import { createServer } from 'node:http';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [url, seconds = '5', screenshot] = process.argv.slice(2);

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Live</title>
<video id="video" width="640" muted></video>
<script src="/mpegts.js"></script>
<script src="/hls.js"></script>`;

const SCRIPTS = { '/mpegts.js': 'mpegts.js/dist/mpegts.js', '/hls.js': 'hls.js/dist/hls.js' };

// How long the first picture may take; machines that run tests are busy.
const START = 20_000;

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
];

async function servePage() {
  const require = createRequire(import.meta.url);
  const server = createServer(async (request, response) => {
    const script = SCRIPTS[request.url];
    response.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
    response.end(script ? await readFile(require.resolve(script)) : PAGE);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return server;
}

// Runs in the page: starts the player, and leaves what it tells in `window.seen`.
function start(url) {
  const video = document.getElementById('video');
  const extension = new URL(url).pathname.split('.').pop();
  window.seen = { errors: [], ends: 0, media: null };
  video.onerror = () => seen.errors.push(`video: ${video.error.message}`);
  if (['mp3', 'aac'].includes(extension)) {
    video.onended = () => (seen.ends += 1);
    video.src = url;
    video.play().catch((error) => seen.errors.push(`play: ${error.message}`));
  } else if (extension === 'm3u8') {
    follow();
  } else {
    open();
  }

  // What hls.js gets over by itself is no error.
  function follow() {
    const player = new Hls();
    seen.stumbles = [];
    player.on(Hls.Events.ERROR, (_, { type, details, fatal, error }) => {
      (fatal ? seen.errors : seen.stumbles).push(`${type}: ${details}: ${error?.message ?? ''}`);
    });
    player.on(Hls.Events.BUFFER_CODECS, (_, { audio, video }) => {
      seen.media = { audio: !!audio, video: !!video, audioCodec: audio?.codec, videoCodec: video?.codec };
    });
    player.loadSource(url);
    player.attachMedia(video);
    video.play().catch((error) => seen.errors.push(`play: ${error.message}`));
  }

  function open() {
    const type = extension === 'ts' ? 'mpegts' : extension;
    const player = mpegts.createPlayer({ type, isLive: true, url }, { isLive: true, lazyLoad: false });
    player.on(mpegts.Events.ERROR, (type, detail, info) => seen.errors.push(`${type}: ${detail}: ${info?.msg ?? ''}`));
    player.on(mpegts.Events.MEDIA_INFO, (info) => {
      seen.media = { audio: info.hasAudio, video: info.hasVideo, audioCodec: info.audioCodec, videoCodec: info.videoCodec };
    });
    player.on(mpegts.Events.LOADING_COMPLETE, () => {
      seen.ends += 1;
      player.destroy();
      open();
    });
    player.attachMediaElement(video);
    player.load();
    player.play().catch((error) => error.name === 'AbortError' || seen.errors.push(`play: ${error.message}`));
  }
}

// Runs in the page: where the player stands.
function look() {
  const video = document.getElementById('video');
  const quality = video.getVideoPlaybackQuality();
  return {
    time: video.currentTime,
    frames: quality.totalVideoFrames - quality.droppedVideoFrames,
    dropped: quality.droppedVideoFrames,
    width: video.videoWidth,
    height: video.videoHeight,
    audioBytes: video.webkitAudioDecodedByteCount,
    ...window.seen,
  };
}

async function watch(page) {
  await page.evaluate(start, url);
  const deadline = Date.now() + START;
  let first = await page.evaluate(look);
  while (first.time === 0 && first.errors.length === 0 && Date.now() < deadline) {
    await page.waitForTimeout(50);
    first = await page.evaluate(look);
  }
  const since = Date.now();
  await page.waitForTimeout(Number(seconds) * 1000);
  const last = await page.evaluate(look);
  if (screenshot) await page.screenshot({ path: screenshot });
  return { ...last, played: (Date.now() - since) / 1000, progress: last.time - first.time };
}

const server = await servePage();
const profile = await mkdtemp(join(tmpdir(), 'oxcast-chromium-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: CHROMIUM,
  headless: true,
  args: FLAGS,
});
try {
  const page = context.pages()[0] ?? (await context.newPage());
  const complaints = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const seen = await watch(page);
  seen.errors.push(...complaints);
  console.log(JSON.stringify(seen));
} finally {
  await context.close();
  server.close();
  await rm(profile, { recursive: true, force: true });
}
