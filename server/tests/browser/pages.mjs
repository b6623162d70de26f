// Uses the pages of the server as people do, in headless Chromium, and prints what they have seen as one line of JSON.
//
//   node pages.mjs '{"watch": [URL, URL], "seconds": 3, "shots": "/dir/name"}'
//   node pages.mjs '{"call": URL, "names": ["alice", "bob", "carol"], "intruder": "dave", "seconds": 3, "shots": "/dir/name"}'
//
// `watch` opens pages one after the other and presses their button: publishers first, then players. `call` has a tab for each name, which all
// join the room of the URL; then an intruder tries to come in, if there is one; then the last one leaves, then the next one's tab is closed.
// Screenshots are NAME-0.png of a desktop and NAME-0-phone.png, for each tab.

import { browse, FAKE_DEVICES, listen } from './chromium.mjs';

const wish = JSON.parse(process.argv[2]);
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

// How long anything may take; machines that run tests are busy.
const START = 40_000;

// Runs in the page: what is on it.
function look() {
  const text = (selector) => document.querySelector(selector)?.textContent?.trim() ?? '';
  const videos = [...document.querySelectorAll('video')].map((video) => ({
    caption: video.parentElement.querySelector('figcaption')?.textContent ?? '',
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
    time: video.currentTime,
    size: [video.videoWidth, video.videoHeight],
    sound: video.webkitAudioDecodedByteCount,
    muted: video.muted,
  }));
  return { state: document.querySelector('#state')?.dataset.state, says: text('#state'), stats: text('#stats'), facts: text('#facts'), videos };
}

// Runs in the page: whether so many videos are there, and each has shown pictures.
function plays(count) {
  const videos = [...document.querySelectorAll('video')];
  return videos.length === count && videos.every((video) => video.currentTime > 0 && video.getVideoPlaybackQuality().totalVideoFrames > 0);
}

const counts = (count) => document.querySelectorAll('video').length === count;

async function open(context, url) {
  const page = await context.newPage();
  const errors = listen(page);
  const answer = await page.goto(url);
  if (!answer.ok()) throw new Error(`${url}: ${answer.status()}`);
  return { page, errors, url };
}

/** Waits for something in the page; what it shows says why it did not come. */
async function until(tab, condition, argument) {
  try {
    await tab.page.waitForFunction(condition, argument, { timeout: START, polling: 100 });
  } catch (error) {
    throw new Error(`${tab.url}: ${error.message}\n${JSON.stringify(await tab.page.evaluate(look))}\n${tab.errors.join('\n')}`);
  }
}

/** What each tab shows now, and how many frames each of its videos has shown in the time. */
async function observe(tabs, seconds) {
  const before = await Promise.all(tabs.map((tab) => tab.page.evaluate(look)));
  await new Promise((later) => setTimeout(later, seconds * 1000));
  const after = await Promise.all(tabs.map((tab) => tab.page.evaluate(look)));
  after.forEach((seen, at) => seen.videos.forEach((video, n) => (video.progress = video.frames - (before[at].videos[n]?.frames ?? 0))));
  return after;
}

async function shoot(tabs, name) {
  if (!name) return;
  for (const [at, { page }] of tabs.entries()) {
    for (const [size, end] of [[PHONE, '-phone'], [DESKTOP, '']]) {
      await page.setViewportSize(size);
      // Nobody scrolls sideways on a phone.
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      if (wide) throw new Error(`${page.url()} is wider than ${size.width} pixels`);
      await page.screenshot({ path: `${name}-${at}${end}.png` });
    }
  }
}

async function watch(context) {
  const tabs = [];
  for (const url of wish.watch) {
    const tab = await open(context, url);
    tabs.push(tab);
    await tab.page.click('#play');
    await until(tab, plays, 1);
  }
  const seen = await observe(tabs, wish.seconds ?? 3);
  // On a busy machine a picture may stumble just now; who has lost it for good does not come back.
  for (const [at, tab] of tabs.entries()) {
    if (seen[at].state === 'wait') {
      await until(tab, () => document.querySelector('#state').dataset.state === 'good');
      const { state, says } = await tab.page.evaluate(look);
      Object.assign(seen[at], { state, says });
    }
  }
  await shoot(tabs, wish.shots);
  for (const tab of tabs.toReversed()) {
    await tab.page.click('#play');
    await until(tab, () => document.querySelector('#state').textContent.trim() === 'Stopped');
  }
  return { tabs: seen, errors: tabs.flatMap((tab) => tab.errors) };
}

async function call(context) {
  const tabs = [];
  const join = async (name) => {
    const tab = await open(context, `${wish.call}&display=${name}`);
    await tab.page.click('#play');
    return tab;
  };
  for (const name of wish.names) {
    const tab = await join(name);
    tabs.push(tab);
    await until(tab, () => document.querySelector('#state').dataset.state === 'good');
  }
  for (const tab of tabs) await until(tab, plays, tabs.length);
  const together = await observe(tabs, wish.seconds ?? 3);
  await shoot(tabs, wish.shots);
  const errors = tabs.flatMap((tab) => tab.errors);

  let intruder;
  if (wish.intruder) {
    const tab = await join(wish.intruder);
    await until(tab, () => document.querySelector('#state').dataset.state === 'bad');
    intruder = await tab.page.evaluate(look);
    await tab.page.close();
    for (const tab of tabs) await until(tab, counts, tabs.length);
  }

  await tabs.at(-1).page.click('#play');
  await until(tabs.at(-1), counts, 0);
  const left = tabs.slice(0, -1);
  for (const tab of left) await until(tab, counts, left.length);
  const afterLeave = await observe(left, wish.seconds ?? 3);

  if (left.length > 1) {
    await left.pop().page.close();
    for (const tab of left) await until(tab, counts, left.length);
  }
  const afterClose = await observe(left, 1);
  return { together, intruder, afterLeave, afterClose, errors };
}

const options = { viewport: DESKTOP, permissions: ['camera', 'microphone'] };
await browse(FAKE_DEVICES, options, async (context) => {
  const seen = await (wish.call ? call(context) : watch(context));
  console.log(JSON.stringify(seen));
});
