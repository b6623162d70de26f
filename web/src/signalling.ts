// The signalling of a room over a WebSocket: who is here, and who publishes. The messages are those of docs/ref/signalling.md.

/** Somebody in the room. */
export interface Participant {
  display: string;
  publishing: boolean;
}

/** What the others did; the list is the room after it. */
export interface Event {
  event: 'join' | 'publish' | 'control' | 'leave';
  participants: Participant[];
}

interface Message {
  tid?: string;
  code?: number;
  error?: string;
  msg?: { event?: Event['event']; participants?: Participant[] };
}

interface Waiting {
  done(participants: Participant[]): void;
  failed(error: Error): void;
}

/** Proxies close connections on which nothing is said. */
const HEARTBEAT = 20_000;

/** One connection, for one participant in one room. */
export class Signalling {
  readonly #waiting = new Map<string, Waiting>();
  #heartbeat?: ReturnType<typeof setInterval>;
  #last = 0;

  private constructor(
    private readonly socket: WebSocket,
    private readonly self: { room: string; display: string },
  ) {}

  /** Connects; `heard` gets what the others do, `closed` that the connection is gone. */
  static connect(
    url: string,
    self: { room: string; display: string },
    heard: (event: Event) => void,
    closed: () => void,
  ): Promise<Signalling> {
    const socket = new WebSocket(url);
    const made = new Signalling(socket, self);
    socket.onmessage = ({ data }) => made.#receive(String(data), heard);
    return new Promise((done, failed) => {
      let isOpen = false;
      socket.onopen = () => {
        isOpen = true;
        made.#heartbeat = setInterval(() => void made.ask('control', { call: 'alive' }).catch(() => undefined), HEARTBEAT);
        done(made);
      };
      socket.onclose = () => {
        clearInterval(made.#heartbeat);
        for (const { failed } of made.#waiting.values()) failed(new Error('The signalling connection is closed.'));
        made.#waiting.clear();
        if (isOpen) closed();
        else failed(new Error(`No answer from the signalling at ${url.replace(/\?.*/, '')}.`));
      };
    });
  }

  /** Says something, and waits for the reply: who is in the room. */
  ask(action: 'join' | 'publish' | 'control' | 'leave', more: Record<string, unknown> = {}): Promise<Participant[]> {
    if (this.socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error('The signalling connection is closed.'));
    const tid = String(++this.#last);
    this.socket.send(JSON.stringify({ tid, msg: { action, ...this.self, ...more } }));
    return new Promise((done, failed) => this.#waiting.set(tid, { done, failed }));
  }

  /** Leaves the room. */
  close() {
    this.socket.onclose = null;
    clearInterval(this.#heartbeat);
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ tid: String(++this.#last), msg: { action: 'leave', ...this.self } }));
    }
    this.socket.close();
  }

  #receive(text: string, heard: (event: Event) => void) {
    const { tid, code, error, msg } = JSON.parse(text) as Message;
    const participants = msg?.participants ?? [];
    const waiting = tid === undefined ? undefined : this.#waiting.get(tid);
    if (waiting && tid !== undefined) {
      this.#waiting.delete(tid);
      if (code) waiting.failed(new Error(error || `The signalling refuses, code ${code}.`));
      else waiting.done(participants);
    } else if (msg?.event) {
      heard({ event: msg.event, participants });
    }
  }
}
