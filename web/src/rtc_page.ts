// The four WebRTC pages. What differs is written at <main>: `data-role` is play or publish, `data-by` is api or whip.

import { capture, type Picture } from './media';
import { autostart, begin, element, offerSound, query, say, tell } from './page';
import { rtcApi, rtcUrl, shareLink, whipUrl } from './place';
import { type Ask, byApi, byWhip, Session, type Wish } from './rtc';
import { Meter } from './stats';

const { role, by } = document.querySelector('main')?.dataset ?? {};
const publishes = role === 'publish';
const direction = publishes ? 'publish' : 'play';
const verb = publishes ? 'Publish' : 'Play';

const video = element<HTMLVideoElement>('video');
const url = element<HTMLInputElement>('url');
const button = element<HTMLButtonElement>('play');

let session: Session | undefined;
let own: MediaStream | undefined;
let meter: Meter | undefined;
let timer: ReturnType<typeof setInterval> | undefined;
/** Counts the starts, so that one which is overtaken by a stop ends. */
let turn = 0;

url.value = by === 'whip' ? whipUrl(direction, query, location) : rtcUrl(query, location);
if (publishes) video.muted = true;
else offerSound(video, element('sound'));
element('form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (button.dataset.busy) stop();
  else void start();
});
if (by === 'api') {
  const share = element<HTMLAnchorElement>('share');
  const show = () => (share.textContent = share.href = shareLink(location.href, url.value.trim(), query));
  url.addEventListener('input', show);
  show();
}
if (publishes && !navigator.mediaDevices) {
  say('bad', 'Browsers give camera and microphone only to pages over https, or from localhost. Open this page over https.');
}
if (autostart) {
  video.muted = true;
  void start();
}

async function start() {
  const mine = ++turn;
  button.dataset.busy = 'yes';
  button.textContent = 'Stop';
  tell({});
  try {
    const wish = await wanted();
    if (mine !== turn) return drop(wish);
    session = new Session(wish, (state, text) => {
      say(state === 'connected' ? 'good' : state === 'failed' ? 'bad' : 'wait', text);
      if (state === 'connected') showFacts();
    });
    video.srcObject = own ?? session.stream;
    void begin(video);
    meter = new Meter(session.peer);
    timer = setInterval(measure, 1000);
    await session.start(ask());
    if (mine === turn) showFacts();
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
  delete button.dataset.busy;
  button.textContent = verb;
  clearInterval(timer);
  element('stats').textContent = '';
  session?.stop();
  session = undefined;
  own?.getTracks().forEach((track) => track.stop());
  own = undefined;
  video.srcObject = null;
}

/** What the page has been told to send or to show. */
async function wanted(): Promise<Wish> {
  if (!publishes) {
    const kinds = document.querySelector<HTMLSelectElement>('#kinds')?.value ?? 'both';
    return { receive: { video: kinds !== 'audio', audio: kinds !== 'video' } };
  }
  say('wait', 'Asking for camera and microphone …');
  const picture = element<HTMLSelectElement>('picture').value as Picture;
  own = await capture(picture, element<HTMLInputElement>('microphone').checked);
  return { send: own };
}

function drop(wish: Wish) {
  if ('send' in wish) wish.send.getTracks().forEach((track) => track.stop());
}

function ask(): Ask {
  const address = url.value.trim();
  return by === 'whip' ? byWhip(address) : byApi(rtcApi(address, direction, query, location), address);
}

function showFacts() {
  const answer = session?.answer;
  if (!answer) return;
  tell({ Session: answer.session, Codecs: meter?.codecs });
}

async function measure() {
  const reading = meter;
  if (session?.peer.connectionState !== 'connected' || !reading) return;
  const line = await reading.read();
  if (reading !== meter || !session) return;
  element('stats').textContent = line;
  showFacts();
}
