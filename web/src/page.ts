// What all pages have: the bar on top, and elements by their id. What a page does belongs to its own module.

/** The parameters of this page. */
export const query = new URLSearchParams(location.search);

/** It shall begin by itself (and without sound, for browsers allow nothing else). */
export const autostart = query.get('autostart') === 'true';

const PAGES = [
  ['players/srs_player.html', 'Player'],
  ['players/rtc_player.html', 'RTC player'],
  ['players/rtc_publisher.html', 'RTC publisher'],
  ['players/whep.html', 'WHEP'],
  ['players/whip.html', 'WHIP'],
  ['demos/index.html', 'Calls'],
] as const;

/** Parameters that go along from page to page: they tell the server, not the stream. */
const PLACE = ['server', 'vhost', 'domain', 'app', 'api', 'eip'];

/** An element that the page has. */
export function element<E extends HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (!found) throw new Error(`this page has no #${id}`);
  return found as E;
}

/** A dot and words that tell how things stand. */
export function say(state: 'idle' | 'wait' | 'good' | 'bad', text: string) {
  const line = element('state');
  line.dataset.state = state;
  let words = line.querySelector('span');
  if (!words) line.append((words = document.createElement('span')));
  words.textContent = text;
}

/** Facts below the picture, as names and values; those without a value are left out. */
export function tell(facts: Record<string, string | HTMLElement | undefined>) {
  const rows = Object.entries(facts).flatMap(([name, value]) => {
    if (!value) return [];
    const [term, description] = [document.createElement('dt'), document.createElement('dd')];
    term.textContent = name;
    description.append(value);
    return [term, description];
  });
  element('facts').replaceChildren(...rows);
}

/** Starts a picture; without sound if the browser refuses sound that nobody has asked for. */
export async function begin(video: HTMLVideoElement) {
  try {
    await video.play();
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return;
    video.muted = true;
    await video.play().catch(() => undefined);
  }
}

/** The button that brings the sound back, shown while there is none. */
export function offerSound(video: HTMLVideoElement, button: HTMLButtonElement) {
  const show = () => (button.hidden = !video.muted || video.paused || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA);
  button.onclick = () => (video.muted = false);
  for (const event of ['volumechange', 'playing', 'pause', 'emptied']) video.addEventListener(event, show);
  show();
}

function bar() {
  const header = document.createElement('header');
  header.className = 'bar';
  const nav = document.createElement('nav');
  const home = link('../', 'Oxcast');
  home.className = 'home';
  const image = document.createElement('img');
  image.src = '../favicon.svg';
  image.alt = '';
  home.prepend(image);
  nav.append(home);
  const place = new URLSearchParams([...query].filter(([name]) => PLACE.includes(name))).toString();
  for (const [path, name] of PAGES) {
    const entry = link(`../${path}${place && `?${place}`}`, name);
    const [folder] = path.split('/');
    const here = location.pathname.endsWith(path) || (folder === 'demos' && location.pathname.includes('/demos/'));
    if (here) entry.setAttribute('aria-current', 'page');
    nav.append(entry);
  }
  for (const onward of document.querySelectorAll<HTMLAnchorElement>('.links a')) onward.search = place;
  header.append(nav);
  document.body.prepend(header);
  // On a phone the bar is longer than the screen.
  const current = nav.querySelector<HTMLElement>('[aria-current]');
  if (current) nav.scrollLeft = current.offsetLeft - nav.clientWidth / 2 + current.clientWidth / 2;
}

function link(href: string, text: string): HTMLAnchorElement {
  const a = document.createElement('a');
  a.href = href;
  a.append(text);
  return a;
}

bar();
