// Plays HLS in several qualities with hls.js in headless Chromium, and changes the quality on the way. The picture is a clock (bars.js). Prints one line
// of JSON: the qualities as hls.js knows them, and of each phase the width of the picture at its end and, in milliseconds, how far the clock in the picture
// is from the player's own time, against the first phase (median), and the longest time without a new picture.
//
//   node qualities.mjs <URL> '[0, 1, 0]' [seconds for each]

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { AUTOPLAY, browse, onPage } from './chromium.mjs';

const [url, order, seconds = '4'] = process.argv.slice(2);

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Qualities</title>
<video id="video" width="640" muted></video>
<script src="/bars.js"></script>
<script src="/hls.js"></script>`;

async function script(url) {
  return url === '/hls.js' ? ['text/javascript', await readFile(createRequire(import.meta.url).resolve('hls.js/dist/hls.js'))] : undefined;
}

// Runs in the page.
async function measure({ url, order, seconds }) {
  const [START, CHANGE] = [20_000, 20_000];
  const video = document.getElementById('video');
  const found = { errors: [], stumbles: [], unreadable: 0, levels: [], phases: [] };
  const player = new Hls({ startLevel: order[0] });
  player.on(Hls.Events.ERROR, (_, { type, details, fatal, error }) => {
    (fatal ? found.errors : found.stumbles).push(`${type}: ${details}: ${error?.message ?? ''}`);
  });
  player.on(Hls.Events.MANIFEST_PARSED, (_, { levels }) => {
    found.levels = levels.map(({ width, height, bitrate, codecSet, attrs }) => ({ width, height, bitrate, codecSet, codecs: attrs.CODECS, fps: attrs['FRAME-RATE'] }));
    player.currentLevel = order[0];
  });
  player.loadSource(url);
  player.attachMedia(video);
  video.play().catch((error) => found.errors.push(`play: ${error.message}`));

  const anew = () => ({ differences: [], pause: 0 });
  let [last, phase] = [undefined, anew()];
  const picture = (now, { mediaTime }) => {
    const time = readBars(video);
    if (time === undefined) found.unreadable += 1;
    else phase.differences.push(time - mediaTime * 1000);
    if (last !== undefined) phase.pause = Math.max(phase.pause, Math.round(now - last));
    last = now;
    video.requestVideoFrameCallback(picture);
  };
  // The clock of the picture has 16 bits.
  const wrapped = (difference) => ((((difference + 32_768) % 65_536) + 65_536) % 65_536) - 32_768;
  let zero;
  const median = (differences) => {
    zero ??= differences.at(-1);
    return Math.round(differences.map((difference) => wrapped(difference - zero)).sort((a, b) => a - b)[differences.length >> 1]);
  };
  const wait = async (what, most) => {
    const until = performance.now() + most;
    while (!what()) {
      if (performance.now() > until || found.errors.length) throw new Error(JSON.stringify(found));
      await new Promise((soon) => setTimeout(soon, 50));
    }
  };
  video.requestVideoFrameCallback(picture);
  await wait(() => last !== undefined, START);
  for (const level of order) {
    const before = video.videoWidth;
    if (found.phases.length) player.nextLevel = level;
    await wait(() => video.videoWidth === player.levels[level].width || !player.levels[level].width, CHANGE);
    phase = { ...anew(), pause: phase.pause };
    await new Promise((done) => setTimeout(done, seconds * 1000));
    found.phases.push({ level, before, width: video.videoWidth, off: median(phase.differences), pause: phase.pause, pictures: phase.differences.length });
    phase = anew();
  }
  return found;
}

await browse(AUTOPLAY, {}, (context) => {
  const wish = { url, order: JSON.parse(order), seconds: Number(seconds) };
  return onPage(context, PAGE, async (page) => console.log(JSON.stringify(await page.evaluate(measure, wish))), script);
});
