// Plays low-latency HLS with hls.js, or DASH with dash.js (either with Shaka, if the address ends with #shaka), in headless Chromium. The picture is a clock (bars.js). Of each picture that is shown, the time
// in it is compared with the time at which it is shown. Prints one line of JSON, in milliseconds.
//
//   node live.mjs <URL> [seconds]

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { AUTOPLAY, browse, onPage } from './chromium.mjs';

const [url, seconds = '8'] = process.argv.slice(2);

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Live</title>
<video id="video" width="640" muted></video>
<script src="/bars.js"></script>
<script src="/hls.js"></script>
<script src="/dash.js"></script>
<script src="/shaka.js"></script>`;

const SCRIPTS = {
  '/hls.js': 'hls.js/dist/hls.js',
  '/dash.js': './node_modules/dashjs/dist/modern/umd/dash.all.min.js',
  '/shaka.js': './node_modules/shaka-player/dist/shaka-player.compiled.js',
};

async function script(url) {
  const found = SCRIPTS[url];
  return found && ['text/javascript', await readFile(createRequire(import.meta.url).resolve(found))];
}

// Runs in the page.
async function measure({ url, seconds }) {
  const START = 20_000;
  const video = document.getElementById('video');
  const found = { errors: [], stumbles: [], unreadable: 0 };
  const shown = [];
  const { pathname, hash } = new URL(url);
  const told = hash === '#shaka' ? askShaka() : pathname.endsWith('.mpd') ? askDash() : askHls();

  function askHls() {
    // For each stall, of which a busy machine may have one at the start, it would stay a second farther behind.
    const player = new Hls({ lowLatencyMode: true, liveSyncOnStallIncrease: 0, maxLiveSyncPlaybackRate: 1.5 });
    player.on(Hls.Events.ERROR, (_, { type, details, fatal, error }) => {
      (fatal ? found.errors : found.stumbles).push(`${type}: ${details}: ${error?.message ?? ''}`);
    });
    player.loadSource(url);
    player.attachMedia(video);
    video.play().catch((error) => found.errors.push(`play: ${error.message}`));
    return () => player.latency;
  }

  function askDash() {
    const player = dashjs.MediaPlayer().create();
    player.on(dashjs.MediaPlayer.events.ERROR, ({ error }) => found.errors.push(`dash.js: ${error?.message ?? error}`));
    player.initialize(video, url, true);
    return () => player.getCurrentLiveLatency();
  }

  function askShaka() {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    player.configure({ streaming: { lowLatencyMode: true } });
    // It gets over what it does not find by itself, such as a part of HLS that was announced and did not come.
    const complain = (error) => {
      const isGotOver = error.code === shaka.util.Error.Code.BAD_HTTP_STATUS;
      (isGotOver ? found.stumbles : found.errors).push(`shaka: ${error.code ?? error}: ${JSON.stringify(error.data ?? '')}`);
    };
    player.addEventListener('error', ({ detail }) => complain(detail));
    player.attach(video).then(() => player.load(url)).then(() => video.play()).catch(complain);
    return () => player.getStats().liveLatency;
  }

  const until = await new Promise((begun, failed) => {
    setTimeout(() => failed(new Error(`no picture: ${JSON.stringify(found)}`)), START);
    // It comes nearer in its first seconds.
    video.requestVideoFrameCallback(() => begun(performance.now() + 3000 + seconds * 1000));
  });
  await new Promise((done) => {
    const look = (now) => {
      const time = readBars(video);
      if (until - now <= seconds * 1000) {
        if (time === undefined) found.unreadable += 1;
        else shown.push((Date.now() - time) & 0xffff);
      }
      if (now < until) video.requestVideoFrameCallback(look);
      else done();
    };
    video.requestVideoFrameCallback(look);
  });
  shown.sort((a, b) => a - b);
  const at = (share) => shown[Math.min(shown.length - 1, Math.floor(shown.length * share))];
  return { ...found, pictures: shown.length, p50: at(0.5), p95: at(0.95), most: at(1), told: Math.round(told() * 1000) };
}

await browse(AUTOPLAY, {}, (context) =>
  onPage(
    context,
    PAGE,
    async (page) => console.log(JSON.stringify(await page.evaluate(measure, { url, seconds: Number(seconds) }))),
    script,
  ),
);
