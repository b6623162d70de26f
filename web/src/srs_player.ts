// The player page for streams over HTTP.

import { play, type Playing } from './live';
import { autostart, begin, element, offerSound, query, say, tell } from './page';
import { mediaUrl, shareLink } from './place';

const video = element<HTMLVideoElement>('video');
const url = element<HTMLInputElement>('url');
const button = element<HTMLButtonElement>('play');
const share = element<HTMLAnchorElement>('share');

let playing: Playing | undefined;
let codecs = '';
let frames = 0;
/** Counts the starts, so that one which is overtaken by another ends. */
let turn = 0;

url.value = mediaUrl(query, location);
showShare();
offerSound(video, element('sound'));
url.addEventListener('input', showShare);
element('form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (playing) stop();
  else void start();
});
for (const choice of document.querySelectorAll<HTMLButtonElement>('[data-extension]')) {
  choice.onclick = () => {
    url.value = url.value.trim().replace(/(\.\w+)?(\?.*)?$/, `.${choice.dataset.extension}$2`);
    showShare();
    stop();
    void start();
  };
}

video.addEventListener('waiting', () => playing && say('wait', video.currentTime ? 'Waiting for media …' : 'Waiting: nobody may be publishing this stream yet …'));
video.addEventListener('playing', () => {
  if (playing) say('good', `Playing with ${playing.name}`);
});
setInterval(measure, 1000);

if (autostart) {
  video.muted = true;
  void start();
}

async function start() {
  const mine = ++turn;
  button.textContent = 'Stop';
  say('wait', 'Connecting …');
  codecs = '';
  try {
    const made = await play(video, url.value.trim(), {
      media: (found) => (codecs = found),
      trouble(text, again) {
        say(again ? 'wait' : 'bad', again ? `${text}\nTrying again …` : text);
        if (!again) end();
      },
    });
    if (mine !== turn) return made.stop();
    playing = made;
    if (!made.starts) await begin(video);
  } catch (error) {
    if (mine !== turn) return;
    end();
    say('bad', error instanceof Error ? error.message : String(error));
  }
}

function stop() {
  end();
  say('idle', 'Stopped');
}

function end() {
  turn++;
  playing?.stop();
  playing = undefined;
  button.textContent = 'Play';
  element('stats').textContent = '';
  tell({});
}

function measure() {
  if (!playing || !video.videoWidth) return;
  const { totalVideoFrames, droppedVideoFrames } = video.getVideoPlaybackQuality();
  const rate = totalVideoFrames - frames;
  frames = totalVideoFrames;
  const buffered = video.buffered.length ? video.buffered.end(video.buffered.length - 1) - video.currentTime : 0;
  const line = [`${video.videoWidth}×${video.videoHeight}`];
  if (rate >= 0 && rate < 300) line.push(`${rate} fps`);
  line.push(`${buffered.toFixed(1)} s buffered`, `${droppedVideoFrames} frames dropped`);
  element('stats').textContent = line.join(' · ');
  tell({ Codecs: codecs });
}

function showShare() {
  share.href = shareLink(location.href, url.value.trim(), query);
  share.textContent = share.href;
}
