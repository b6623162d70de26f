// A WebRTC session with the server: offer and answer over the JSON API or WHIP/WHEP, how it goes, and its end. Knows no page.

/** How things stand. */
export type State = 'connecting' | 'connected' | 'failed';

/** What a session sends or wants. */
export type Wish = { send: MediaStream } | { receive: { video: boolean; audio: boolean } };

/** What the answer of the server says. */
export interface Answer {
  sdp: string;
  /** The id of the session, as logs and the API know it. */
  session: string;
  /** Where to delete it; only WHIP and WHEP tell. */
  resource?: string;
}

/** Asks the server with an offer. */
export type Ask = (offer: string) => Promise<Answer>;

/** How long a connection may take before people are told what to look at. */
const PATIENCE = 6000;

/** Asks the JSON API, `/rtc/v1/play/` or `/rtc/v1/publish/`. */
export function byApi(api: string, streamurl: string): Ask {
  return async (sdp) => {
    const tid = Math.random().toString(36).slice(2, 9);
    const answer = await post(api, 'application/json', JSON.stringify({ api, tid, streamurl, clientip: null, sdp }));
    const text = await answer.text();
    const told = parse(text);
    if (!answer.ok || told?.code || !told?.sdp) throw new Error(refusal(answer, text, told));
    return { sdp: String(told.sdp), session: String(told.sessionid ?? '') };
  };
}

/** Asks WHIP or WHEP. */
export function byWhip(url: string): Ask {
  return async (offer) => {
    const answer = await post(url, 'application/sdp', offer);
    const text = await answer.text();
    if (!answer.ok || !text.startsWith('v=')) throw new Error(refusal(answer, text, parse(text)));
    const location = answer.headers.get('Location');
    const resource = location ? new URL(location, url) : undefined;
    return { sdp: text, session: resource?.searchParams.get('session') ?? '', resource: resource?.href };
  };
}

/** A session from its offer to its end. */
export class Session {
  readonly peer: RTCPeerConnection;
  /** What arrives. */
  readonly stream = new MediaStream();
  answer?: Answer;
  #timer?: ReturnType<typeof setTimeout>;
  #leave = () => this.stop();

  /** `changed` hears of every change, with words for people. */
  constructor(
    private readonly wish: Wish,
    private readonly changed: (state: State, text: string) => void,
  ) {
    this.peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.peer.ontrack = ({ track }) => this.stream.addTrack(track);
    this.peer.onconnectionstatechange = () => this.#show();
  }

  /** Offers and takes the answer; throws a text for people if the server refuses. */
  async start(ask: Ask) {
    addEventListener('pagehide', this.#leave);
    this.changed('connecting', 'Asking the server …');
    this.#prepare();
    const offer = await this.peer.createOffer();
    await this.peer.setLocalDescription(offer);
    this.answer = await ask(offer.sdp ?? '');
    if (this.peer.signalingState === 'closed') return this.#release();
    await this.peer.setRemoteDescription({ type: 'answer', sdp: this.answer.sdp });
    this.#timer = setTimeout(() => {
      if (this.peer.connectionState !== 'connected') this.changed('connecting', `Still no connection. ${this.#hint()}`);
    }, PATIENCE);
  }

  /** Ends it, and tells the server so. */
  stop() {
    removeEventListener('pagehide', this.#leave);
    clearTimeout(this.#timer);
    this.peer.onconnectionstatechange = null;
    this.peer.close();
    this.#release();
  }

  #prepare() {
    if ('send' in this.wish) {
      const stream = this.wish.send;
      for (const track of stream.getTracks()) this.peer.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
      return;
    }
    for (const kind of ['audio', 'video'] as const) {
      if (this.wish.receive[kind]) this.peer.addTransceiver(kind, { direction: 'recvonly' });
    }
  }

  #release() {
    const resource = this.answer?.resource;
    if (!resource) return;
    this.answer = undefined;
    // Also when the page is being left: then only such a request still gets out.
    fetch(resource, { method: 'DELETE', keepalive: true }).catch(() => undefined);
  }

  #show() {
    switch (this.peer.connectionState) {
      case 'connecting':
        return this.changed('connecting', 'Connecting …');
      case 'connected':
        clearTimeout(this.#timer);
        return this.changed('connected', 'Connected');
      case 'disconnected':
        return this.changed('connecting', 'The connection is interrupted; it may come back …');
      case 'failed':
        return this.changed('failed', `No connection for media. ${this.#hint()}`);
    }
  }

  #hint(): string {
    const candidates = (this.answer?.sdp ?? '').matchAll(/^a=candidate:\S+ \d+ (\w+) \d+ (\S+) (\d+)/gim);
    const addresses = [...candidates].map(([, transport, address, port]) => `${address}:${port}/${transport?.toLowerCase()}`);
    return [
      addresses.length ? `The server says that it is at ${addresses.join(', ')}.` : 'The server has told no address.',
      'Check that this browser can reach that address (else set rtc_server.candidate, or add ?eip=ADDRESS to this page),',
      'and that its port (UDP 8000 if nothing else is set) is open in firewalls and published by the container.',
    ].join(' ');
  }
}

async function post(url: string, type: string, body: string): Promise<Response> {
  try {
    return await fetch(url, { method: 'POST', headers: { 'Content-Type': type }, body });
  } catch (error) {
    const mixed = location.protocol === 'https:' && url.startsWith('http:');
    const why = mixed
      ? 'A page over https may ask only an API over https: set http_api.https, and take schema=https&api=PORT.'
      : 'Check the port of the API (parameter api), and that http_api and rtc_server are on.';
    throw new Error(`No answer from ${new URL(url).origin}. ${why}`, { cause: error });
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** The reason in the words of the server, if it has any. */
function refusal(answer: Response, text: string, told?: Record<string, unknown>): string {
  const known = ['reason', 'error', 'message', 'msg', 'desc', 'data'].map((name) => told?.[name]).find((v) => typeof v === 'string');
  const words = known ?? (told || text.startsWith('<') ? '' : text.trim().slice(0, 500));
  if (answer.ok && told?.code === 0) return 'The answer has no session description: WebRTC may be off (rtc_server), or the path is another.';
  const code = told?.code ? `, code ${String(told.code)}` : '';
  const status = answer.ok ? `The server refuses${code}` : `The server answers ${answer.status}${code}`;
  return words ? `${status}: ${String(words)}` : `${status}. Its log tells why.`;
}
