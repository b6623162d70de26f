// A call: everybody publishes one stream named after the room and themselves, and plays those of the others. `data-limit` at
// <main> is how many a room may have.

import { capture } from './media';
import { autostart, begin, element, query, say } from './page';
import { byWhip, Session } from './rtc';
import { Meter } from './stats';
import { whipUrl } from './place';
import { type Participant, Signalling } from './signalling';

const limit = Number(document.querySelector('main')?.dataset.limit ?? Infinity);
const room = element<HTMLInputElement>('room');
const display = element<HTMLInputElement>('display');
const camera = element<HTMLInputElement>('camera');
const button = element<HTMLButtonElement>('play');
const people = element('people');

interface Seat {
  figure: HTMLElement;
  session?: Session;
}

let signalling: Signalling | undefined;
let own: MediaStream | undefined;
let timer: ReturnType<typeof setInterval> | undefined;
const seats = new Map<string, Seat>();
/** Counts the calls, so that what belongs to one that is over ends. */
let turn = 0;

room.value = query.get('room') || 'room';
display.value = query.get('display') || `guest-${Math.random().toString(36).slice(2, 6)}`;
for (const input of [room, display]) input.addEventListener('input', showShare);
showShare();
element('form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (button.dataset.busy) leave('Left');
  else void join();
});
addEventListener('pagehide', () => signalling?.close());
if (autostart) void join();

async function join() {
  const mine = ++turn;
  const self = { room: room.value, display: display.value };
  button.dataset.busy = 'yes';
  button.textContent = 'Leave';
  room.disabled = display.disabled = camera.disabled = true;
  try {
    say('wait', 'Joining …');
    const made = await Signalling.connect(
      signallingUrl(self.room),
      self,
      ({ participants }) => mine === turn && arrange(participants, mine),
      () => mine === turn && leave('The connection to the signalling is lost. Join again.', 'bad'),
    );
    if (mine !== turn) return made.close();
    signalling = made;
    const present = await made.ask('join');
    if (present.length > limit) throw new Error(`There are ${limit} in this room already.`);
    say('wait', 'Asking for camera and microphone …');
    const stream = await capture(camera.checked ? 'camera' : 'none', true);
    if (mine !== turn) return stream.getTracks().forEach((track) => track.stop());
    own = stream;
    const seat = sit(self.display, 'you');
    seat.figure.classList.add('own');
    show(seat, stream, true);
    seat.session = new Session({ send: stream }, (state, text) => {
      if (mine !== turn) return;
      say(state === 'connected' ? 'good' : state === 'failed' ? 'bad' : 'wait', state === 'connected' ? 'In the room' : text);
    });
    const meter = new Meter(seat.session.peer);
    timer = setInterval(async () => {
      const line = await meter.read();
      if (mine === turn) element('stats').textContent = line;
    }, 1000);
    await seat.session.start(byWhip(streamUrl('publish', self.room, self.display)));
    if (mine === turn) arrange(await made.ask('publish'), mine);
  } catch (error) {
    if (mine === turn) leave(error instanceof Error ? error.message : String(error), 'bad');
  }
}

function leave(text: string, state: 'idle' | 'bad' = 'idle') {
  turn++;
  clearInterval(timer);
  signalling?.close();
  signalling = undefined;
  for (const name of [...seats.keys()]) rise(name);
  own?.getTracks().forEach((track) => track.stop());
  own = undefined;
  delete button.dataset.busy;
  button.textContent = 'Join';
  room.disabled = display.disabled = camera.disabled = false;
  element('stats').textContent = '';
  say(state, text);
}

/** Makes the seats those of the people in the room. */
function arrange(participants: Participant[], mine: number) {
  const others = participants.filter((somebody) => somebody.display !== display.value);
  for (const name of [...seats.keys()]) {
    if (name !== display.value && !others.some((other) => other.display === name)) rise(name);
  }
  for (const { display: name, publishing } of others) {
    const seat = seats.get(name) ?? sit(name, 'no picture yet');
    if (publishing && !seat.session) void watch(name, seat, mine);
  }
}

async function watch(name: string, seat: Seat, mine: number) {
  const session = new Session({ receive: { video: true, audio: true } }, (state, text) => {
    caption(seat, name, state === 'connected' ? '' : text);
  });
  seat.session = session;
  show(seat, session.stream, false);
  try {
    await session.start(byWhip(streamUrl('play', room.value, name)));
  } catch (error) {
    if (mine === turn) caption(seat, name, error instanceof Error ? error.message : String(error));
  }
}

function sit(name: string, note: string): Seat {
  const figure = document.createElement('figure');
  figure.className = 'screen';
  figure.append(document.createElement('video'), document.createElement('figcaption'));
  people.append(figure);
  const seat: Seat = { figure };
  seats.set(name, seat);
  caption(seat, name, note);
  return seat;
}

function rise(name: string) {
  const seat = seats.get(name);
  seat?.session?.stop();
  seat?.figure.remove();
  seats.delete(name);
}

function show(seat: Seat, stream: MediaStream, muted: boolean) {
  const video = seat.figure.querySelector('video');
  if (!video) return;
  video.playsInline = true;
  video.muted = muted;
  video.srcObject = stream;
  void begin(video);
}

function caption(seat: Seat, name: string, note: string) {
  const line = seat.figure.querySelector('figcaption');
  if (line) line.textContent = note ? `${name}: ${note}` : name;
}

/** The media of somebody: the room is the app, the name is the stream. `host` is the media server. */
function streamUrl(role: 'play' | 'publish', app: string, stream: string): string {
  const place = new URLSearchParams(query);
  place.delete('path');
  place.set('server', query.get('host') || query.get('server') || location.hostname);
  place.set('app', app);
  place.set('stream', stream);
  return whipUrl(role, place, location);
}

function signallingUrl(room: string): string {
  const schema = query.get('wss') || (location.protocol === 'https:' ? 'wss' : 'ws');
  const host = query.get('wsh') || location.hostname;
  const port = query.get('wsp') || (query.has('wsh') ? '' : location.port);
  return `${schema}://${host}${port && `:${port}`}/sig/v1/rtc?${new URLSearchParams({ room })}`;
}

function showShare() {
  const link = new URLSearchParams(query);
  link.delete('display');
  link.set('room', room.value);
  element<HTMLAnchorElement>('share').href = `${location.pathname}?${link}`;
}
