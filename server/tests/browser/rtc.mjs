// Publishes a fake camera by WHIP and plays by WHEP in headless Chromium, and prints what its peer connections tell as one line of JSON.
//
//   node rtc.mjs '{"publish": URL, "play": URL, "seconds": 5, "screenshot": "a.png", "codec": "video/H264", "restart": true}'
//   node rtc.mjs '{"publish": URL, "play": URL, "only": "audio"}'
//   node rtc.mjs '{"publish": URL, "studio": {"resizeAfter": 3}}'
//
// Each of the URLs may be missing. With `only`, there are pictures or sound alone. A `studio` films a drawing in place of the camera: once a second
// it is white for a fifth of it, and beeps; after `resizeAfter` seconds it is twice as wide and high. `publish` and `play` of the output hold what getStats() knows about tracks; `play.frames` counts decoded
// pictures between the first one and the end, `play.energy` the energy of the sound.

import { AUTOPLAY, browse, FAKE_DEVICES, onPage } from './chromium.mjs';

const wish = JSON.parse(process.argv[2]);

const PAGE = '<!doctype html><meta charset="utf-8"><title>WebRTC</title><video id="video" width="640" autoplay playsinline></video>';

// All of it runs in the page.
async function meet(wish) {
  const START = 30_000;
  const seen = { errors: [] };
  const pause = (ms) => new Promise((later) => setTimeout(later, ms));

  async function exchange(pc, url) {
    await pc.setLocalDescription(await pc.createOffer());
    const headers = { 'Content-Type': 'application/sdp' };
    const response = await fetch(url, { method: 'POST', headers, body: pc.localDescription.sdp });
    const text = await response.text();
    if (response.status !== 201) throw new Error(`${url}: ${response.status} ${text}`);
    await pc.setRemoteDescription({ type: 'answer', sdp: text });
    return new URL(response.headers.get('Location'), url).href;
  }

  // RFC 9725, section 4.3.3: credentials go there and come back, the rest of the description stays.
  async function startIceAgain(pc, location) {
    const before = (await stats(pc, 'inbound-rtp')).pair?.id;
    const offer = await pc.createOffer({ iceRestart: true });
    await pc.setLocalDescription(offer);
    const line = (sdp, start) => sdp.split('\r\n').find((text) => text.startsWith(start));
    const body = ['a=ice-ufrag:', 'a=ice-pwd:', 'm=', 'a=mid:'].map((start) => line(offer.sdp, start)).join('\r\n') + '\r\n';
    const headers = { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' };
    const response = await fetch(location, { method: 'PATCH', headers, body });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`PATCH: ${response.status} ${text}`);
    let sdp = pc.remoteDescription.sdp;
    for (const start of ['a=ice-ufrag:', 'a=ice-pwd:']) {
      sdp = sdp.replaceAll(new RegExp(`^${start}.*$`, 'gm'), line(text, start));
    }
    await pc.setRemoteDescription({ type: 'answer', sdp });
    const deadline = Date.now() + START;
    for (let pair = before; pair === before; pair = (await stats(pc, 'inbound-rtp')).pair?.id) {
      if (Date.now() > deadline) throw new Error('no other candidate pair');
      await pause(20);
    }
    seen.startedAgain = response.headers.get('ETag');
  }

  async function connected(pc) {
    const deadline = Date.now() + START;
    while (pc.connectionState !== 'connected') {
      if (Date.now() > deadline || pc.connectionState === 'failed') throw new Error(`connection ${pc.connectionState}`);
      await pause(20);
    }
  }

  async function stats(pc, type) {
    const found = {};
    const report = await pc.getStats();
    for (const entry of report.values()) {
      if (entry.type === type) {
        const codec = report.get(entry.codecId)?.mimeType;
        found[entry.kind] = { ...entry, codec };
      } else if (entry.type === 'transport' && entry.selectedCandidatePairId) {
        const pair = report.get(entry.selectedCandidatePairId);
        found.pair = { ...pair, protocol: report.get(pair?.remoteCandidateId)?.protocol };
      } else if (entry.type === 'remote-inbound-rtp') {
        found[`${entry.kind}Remote`] = entry;
      }
    }
    return found;
  }

  const kinds = wish.only ? [wish.only] : ['audio', 'video'];

  function studio({ resizeAfter }) {
    const [canvas, audio] = [document.createElement('canvas'), new AudioContext()];
    [canvas.width, canvas.height] = [320, 180];
    const [tone, gain] = [new OscillatorNode(audio), new GainNode(audio, { gain: 0 })];
    const sound = audio.createMediaStreamDestination();
    tone.connect(gain).connect(sound);
    tone.start();
    const paint = canvas.getContext('2d');
    const started = audio.currentTime;
    let beeps = Math.ceil(started);
    setInterval(() => {
      const time = audio.currentTime;
      while (beeps < time + 1) {
        gain.gain.setValueAtTime(0.5, beeps);
        gain.gain.setValueAtTime(0, beeps + 0.2);
        beeps += 1;
      }
      if (resizeAfter && time - started > resizeAfter && canvas.width === 320) [canvas.width, canvas.height] = [640, 360];
      paint.fillStyle = time % 1 < 0.2 ? 'white' : 'black';
      paint.fillRect(0, 0, canvas.width, canvas.height);
      paint.fillStyle = 'grey';
      paint.fillRect(((time * 50) % 300) | 0, 10, 6, 6);
    }, 20);
    return new MediaStream([...sound.stream.getTracks(), ...canvas.captureStream(25).getTracks()]);
  }

  async function camera() {
    const video = { width: 640, height: 360, frameRate: 25 };
    return navigator.mediaDevices.getUserMedia({ audio: kinds.includes('audio'), video: kinds.includes('video') && video });
  }

  async function publish() {
    const stream = wish.studio ? studio(wish.studio) : await camera();
    const pc = new RTCPeerConnection();
    for (const track of stream.getTracks()) {
      const transceiver = pc.addTransceiver(track, { direction: 'sendonly' });
      if (track.kind === 'video' && wish.codec) {
        const codecs = RTCRtpSender.getCapabilities('video').codecs;
        transceiver.setCodecPreferences(codecs.filter((codec) => codec.mimeType === wish.codec || codec.mimeType === 'video/rtx'));
      }
    }
    const location = await exchange(pc, wish.publish);
    await connected(pc);
    return { pc, location };
  }

  async function play() {
    const started = performance.now();
    const pc = new RTCPeerConnection();
    const stream = new MediaStream();
    pc.ontrack = ({ track }) => stream.addTrack(track);
    kinds.forEach((kind) => pc.addTransceiver(kind, { direction: 'recvonly' }));
    const video = document.getElementById('video');
    video.srcObject = stream;
    const location = await exchange(pc, wish.play);
    await connected(pc);
    const linked = performance.now();
    const deadline = Date.now() + START;
    while (!wish.sound && kinds.includes('video') && !(video.videoWidth > 0 && video.currentTime > 0)) {
      if (Date.now() > deadline) {
        seen.play = await stats(pc, 'inbound-rtp');
        throw new Error('no picture');
      }
      await pause(10);
    }
    seen.linkedAfter = linked - started;
    seen.pictureAfter = performance.now() - started;
    return { pc, location, video };
  }

  try {
    const sender = wish.publish ? await publish() : null;
    const player = wish.play ? await play() : null;
    if (wish.restart) await startIceAgain(player.pc, player.location);
    const first = player && (await stats(player.pc, 'inbound-rtp'));
    await pause((wish.seconds ?? 5) * 1000);
    if (sender) seen.publish = await stats(sender.pc, 'outbound-rtp');
    if (player) {
      seen.play = await stats(player.pc, 'inbound-rtp');
      seen.received = (seen.play.video?.framesReceived ?? 0) - (first.video?.framesReceived ?? 0);
      seen.frames = (seen.play.video?.framesDecoded ?? 0) - (first.video?.framesDecoded ?? 0);
      seen.energy = (seen.play.audio?.totalAudioEnergy ?? 0) - (first.audio?.totalAudioEnergy ?? 0);
      seen.width = player.video.videoWidth;
      seen.height = player.video.videoHeight;
    }
    seen.deleted = [];
    for (const side of [sender, player]) {
      if (side) seen.deleted.push((await fetch(side.location, { method: 'DELETE' })).status);
    }
  } catch (error) {
    seen.errors.push(error.message);
  }
  return seen;
}

await browse([...AUTOPLAY, ...FAKE_DEVICES], { permissions: ['camera', 'microphone'] }, (context) =>
  onPage(context, PAGE, async (page, complaints) => {
    const meeting = page.evaluate(meet, wish);
    if (wish.screenshot) {
      await page.waitForTimeout((wish.seconds ?? 5) * 1000);
      await page.screenshot({ path: wish.screenshot });
    }
    const seen = await meeting;
    complaints.forEach((complaint) => console.error(complaint));
    console.log(JSON.stringify(seen));
  }),
);
