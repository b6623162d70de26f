// Plays a stream or a file over HTTP in a <video>: which library plays what, and what their errors mean to a viewer.
// Each library is loaded by whoever needs it.

import { begin } from './page';

/** What a player tells the page. */
export interface Listener {
  /** What is in the stream, as far as the library says. */
  media(codecs: string): void;
  /** It goes wrong, and trying again is up to the player (`again`) or to the viewer. */
  trouble(text: string, again: boolean): void;
}

/** Something that plays, until it is stopped. */
export interface Playing {
  /** What plays it. */
  name: string;
  /** It starts the picture by itself, as soon as there is one. */
  starts?: boolean;
  stop(): void;
}

/** How long to wait before a stream that has ended, or is not there yet, is asked for again. */
const RETRY = 3000;

/** What stands at the end of the path tells what is behind an address. */
export function extension(url: string): string {
  return /\.(\w+)(?:[?#]|$)/.exec(url.replace(/[?#].*$/, ''))?.[1]?.toLowerCase() ?? '';
}

/** Starts playing; throws a text for the viewer if nothing here can. */
export async function play(video: HTMLVideoElement, url: string, listener: Listener): Promise<Playing> {
  if (/^rtmps?:/.test(url)) {
    throw new Error('Browsers cannot play RTMP. Play this address with VLC or ffplay, or here as http://…/app/stream.flv');
  }
  if (/^webrtc:/.test(url)) throw new Error('This is an address for the RTC player: see above.');
  switch (extension(url)) {
    case 'mp4':
    case 'mp3':
    case 'aac':
      return natively(video, url, listener);
    case 'm3u8':
      return hls(video, url, listener);
    case 'mpd':
      return dash(video, url, listener);
    case 'ts':
      return mpegts(video, url, 'mpegts', listener);
    default:
      return mpegts(video, url, 'flv', listener);
  }
}

function natively(video: HTMLVideoElement, url: string, listener: Listener): Playing {
  video.onerror = () => listener.trouble(video.error?.message || 'The file cannot be played.', false);
  video.src = url;
  return {
    name: 'the browser itself',
    stop() {
      video.onerror = null;
      video.removeAttribute('src');
      video.load();
    },
  };
}

async function mpegts(video: HTMLVideoElement, url: string, type: string, listener: Listener): Promise<Playing> {
  const { default: library } = await import('mpegts.js');
  if (!library.isSupported()) {
    throw new Error('This browser has no Media Source Extensions, so it cannot play FLV or TS. Take the .m3u8 of the stream.');
  }
  library.LoggingControl.enableAll = false;
  let player: ReturnType<typeof library.createPlayer> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const again = (text: string) => {
    listener.trouble(text, true);
    clearTimeout(timer);
    timer = setTimeout(open, RETRY);
  };

  function open() {
    player?.destroy();
    const made = library.createPlayer(
      { type, url, isLive: true },
      // A viewer of a live stream wants the present: whoever falls behind plays a little faster.
      { isLive: true, lazyLoad: false, enableStashBuffer: false, liveSync: true, liveSyncMaxLatency: 2.5, liveSyncTargetLatency: 1 },
    );
    player = made;
    made.on(library.Events.ERROR, (_: string, detail: string, info?: { code?: number; msg?: string }) => {
      // The decoder's complaints do not pass by trying again; those of the network may.
      if (detail.startsWith('Media') || detail.startsWith('Format') || detail.startsWith('Codec')) {
        listener.trouble(`The stream cannot be played: ${info?.msg ?? detail}`, false);
      } else if (info?.code && info.code > 0) {
        again(`The server answers ${info.code}: ${refusal(info.code)}`);
      } else {
        again(`The connection failed (${info?.msg || detail}).`);
      }
    });
    made.on(library.Events.LOADING_COMPLETE, () => again('The stream has ended; waiting for it to come back …'));
    made.on(library.Events.MEDIA_INFO, (info: { videoCodec?: string; audioCodec?: string }) =>
      listener.media([info.videoCodec, info.audioCodec].filter(Boolean).join(', ')),
    );
    made.attachMediaElement(video);
    made.load();
    // The page has begun the first one itself.
    Promise.resolve(made.play()).catch(() => undefined);
  }

  open();
  return {
    name: 'mpegts.js',
    stop() {
      clearTimeout(timer);
      player?.destroy();
    },
  };
}

async function hls(video: HTMLVideoElement, url: string, listener: Listener): Promise<Playing> {
  const { default: Hls } = await import('hls.js');
  if (!Hls.isSupported()) {
    if (video.canPlayType('application/vnd.apple.mpegurl')) return natively(video, url, listener);
    throw new Error('This browser cannot play HLS.');
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  const player = new Hls({ lowLatencyMode: true });
  player.on(Hls.Events.BUFFER_CODECS, (_, tracks) => {
    const codecs = [tracks.video?.codec, tracks.audio?.codec, tracks.audiovideo?.codec];
    listener.media(codecs.filter(Boolean).join(', '));
  });
  player.on(Hls.Events.ERROR, (_, { fatal, type, details, response, error }) => {
    if (!fatal) return;
    if (type === Hls.ErrorTypes.MEDIA_ERROR) {
      listener.trouble(`${details}: ${error?.message ?? ''}`, true);
      player.recoverMediaError();
      return;
    }
    const text = response?.code ? `The server answers ${response.code}: ${refusal(response.code)}` : `The connection failed (${details}).`;
    listener.trouble(text, true);
    clearTimeout(timer);
    timer = setTimeout(() => player.loadSource(url), RETRY);
  });
  player.loadSource(url);
  player.attachMedia(video);
  return {
    name: 'hls.js',
    stop() {
      clearTimeout(timer);
      player.destroy();
    },
  };
}

async function dash(video: HTMLVideoElement, url: string, listener: Listener): Promise<Playing> {
  const { MediaPlayer, Debug } = await import('dashjs');
  const player = MediaPlayer().create();
  let timer: ReturnType<typeof setTimeout> | undefined;
  player.updateSettings({ debug: { logLevel: Debug.LOG_LEVEL_NONE } });
  player.on(MediaPlayer.events.ERROR, ({ error }: { error?: unknown }) => {
    const text = typeof error === 'object' && error && 'message' in error ? String(error.message) : String(error);
    listener.trouble(`The stream cannot be played: ${text}`, true);
    clearTimeout(timer);
    timer = setTimeout(() => player.attachSource(url), RETRY);
  });
  player.on(MediaPlayer.events.STREAM_INITIALIZED, () => {
    // It asks for the manifest again once it has heard that the picture was started, so that must not come earlier.
    void begin(video);
    const codec = (type: 'video' | 'audio') => /codecs="([^"]+)"/.exec(player.getCurrentTrackFor(type)?.codec ?? '')?.[1];
    listener.media([codec('video'), codec('audio')].filter(Boolean).join(', '));
  });
  player.initialize(video, url, false);
  return {
    name: 'dash.js',
    starts: true,
    stop() {
      clearTimeout(timer);
      player.destroy();
    },
  };
}

/** What a status means for somebody who wants to watch. */
function refusal(status: number): string {
  switch (status) {
    case 404:
      return 'there is no such stream (yet).';
    case 401:
    case 403:
      return 'it is not allowed; a token may be missing or too old.';
    default:
      return status >= 500 ? 'the server has too much to do, or a fault.' : 'it does not want to.';
  }
}
