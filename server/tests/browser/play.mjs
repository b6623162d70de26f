// Plays a live stream in headless Chromium, and prints what a viewer has seen as one line of JSON.
//
//   node play.mjs <URL> [seconds to play] [screenshot.png]
//
// FLV and MPEG-TS, over HTTP or WebSocket, are played with mpegts.js, which opens the stream anew when it has ended; HLS with hls.js, DASH with dash.js, or
// both with Shaka if the address ends with #shaka; MP3 and AAC with an <audio> element. The path tells which. The page comes from a server of its own, so it
// has another origin than the stream, and CORS counts.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { AUTOPLAY, browse, onPage } from './chromium.mjs';

const [url, seconds = '5', screenshot] = process.argv.slice(2);

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Live</title>
<video id="video" width="640" muted></video>
<script src="/mpegts.js"></script>
<script src="/hls.js"></script>
<script src="/dash.js"></script>
<script src="/shaka.js"></script>`;

const SCRIPTS = {
  '/mpegts.js': 'mpegts.js/dist/mpegts.js',
  '/hls.js': 'hls.js/dist/hls.js',
  '/dash.js': './node_modules/dashjs/dist/modern/umd/dash.all.min.js',
  '/shaka.js': './node_modules/shaka-player/dist/shaka-player.compiled.js',
};

// How long the first picture may take; machines that run tests are busy.
const START = 20_000;

// What the page loads besides itself.
async function script(url) {
  const found = SCRIPTS[url];
  return found && ['text/javascript', await readFile(createRequire(import.meta.url).resolve(found))];
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
  } else if (new URL(url).hash === '#shaka') {
    askShaka();
  } else if (extension === 'm3u8') {
    follow();
  } else if (extension === 'mpd') {
    askDash();
  } else {
    open();
  }

  function askDash() {
    const player = dashjs.MediaPlayer().create();
    player.on(dashjs.MediaPlayer.events.ERROR, ({ error }) => seen.errors.push(`dash.js: ${error?.message ?? error}`));
    player.initialize(video, url, true);
    window.player = player;
  }

  function askShaka() {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    const complain = (error) => seen.errors.push(`shaka: ${error.code ?? error}: ${JSON.stringify(error.data ?? '')}`);
    player.addEventListener('error', ({ detail }) => complain(detail));
    player.attach(video).then(() => player.load(url)).then(() => video.play()).catch(complain);
    window.player = player;
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

// By which protocols the streams' server is spoken with, as they come; WebSockets are not among them.
async function listenToNetwork(context, page) {
  const protocols = new Set();
  const session = await context.newCDPSession(page);
  session.on('Network.responseReceived', ({ response }) => {
    if (new URL(response.url).host === new URL(url).host) protocols.add(response.protocol);
  });
  await session.send('Network.enable');
  return protocols;
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

await browse(AUTOPLAY, { ignoreHTTPSErrors: true }, (context) => {
  const work = async (page, complaints) => {
    const protocols = await listenToNetwork(context, page);
    const seen = await watch(page);
    seen.errors.push(...complaints);
    seen.protocols = [...protocols];
    console.log(JSON.stringify(seen));
  };
  return onPage(context, PAGE, work, script);
});
