// What `getStats` says, in one line.

interface Count {
  time: number;
  bytes: number;
  packets: number;
  lost: number;
}

/** Reads a connection once a second and gives a line such as `1280×720 · 25 fps · 1850 kbit/s · 0.0 % lost · RTT 12 ms`. */
export class Meter {
  #last?: Count;
  /** The codecs in use, from the newest reading. */
  codecs = '';

  constructor(private readonly peer: RTCPeerConnection) {}

  async read(): Promise<string> {
    const report = await this.peer.getStats();
    const now: Count = { time: performance.now(), bytes: 0, packets: 0, lost: 0 };
    const codecs = new Set<string>();
    let size = '';
    let rate: number | undefined;
    let trip: number | undefined;
    report.forEach((entry) => {
      const isMedia = entry.type === 'inbound-rtp' || entry.type === 'outbound-rtp';
      if (isMedia) {
        now.bytes += entry.bytesReceived ?? entry.bytesSent ?? 0;
        now.packets += entry.packetsReceived ?? entry.packetsSent ?? 0;
        now.lost += entry.packetsLost ?? 0;
        const codec = report.get(entry.codecId)?.mimeType as string | undefined;
        if (codec) codecs.add(codec.split('/')[1] ?? codec);
      }
      if (isMedia && entry.kind === 'video') {
        if (entry.frameWidth) size = `${entry.frameWidth}×${entry.frameHeight}`;
        rate = entry.framesPerSecond ?? rate;
      }
      if (entry.type === 'remote-inbound-rtp') {
        now.lost += entry.packetsLost ?? 0;
        trip = entry.roundTripTime ?? trip;
      }
      if (entry.type === 'candidate-pair' && entry.nominated) trip = entry.currentRoundTripTime ?? trip;
    });
    this.codecs = [...codecs].join(', ');
    const line = [size, rate === undefined ? '' : `${Math.round(rate)} fps`, ...this.#since(now)];
    if (trip !== undefined) line.push(`RTT ${Math.round(trip * 1000)} ms`);
    return line.filter(Boolean).join(' · ');
  }

  #since(now: Count): string[] {
    const last = this.#last;
    this.#last = now;
    if (!last) return [];
    const lost = Math.max(now.lost - last.lost, 0);
    const sent = now.packets - last.packets + lost;
    const share = sent > 0 ? (100 * lost) / sent : 0;
    return [`${Math.round(((now.bytes - last.bytes) * 8) / (now.time - last.time))} kbit/s`, `${share.toFixed(1)} % lost`];
  }
}
