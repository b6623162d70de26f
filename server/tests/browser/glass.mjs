// Measures the way from glass to glass in headless Chromium: a canvas shows the time as a row of bars and is published by WHIP, a video plays it by
// WHEP, and of each picture that is shown the time in it is compared with the time at which it is shown. Prints one line of JSON, in milliseconds.
//
//   node glass.mjs '{"publish": URL, "play": URL, "seconds": 10, "codec": "video/H264", "rate": 60}'
//
// Both ends are in one page, since a browser does not paint pages that nobody looks at. Capture, encoder, jitter buffer, decoder and the wait for the next
// frame of the screen are all part of it; a camera and a screen are not.

import { AUTOPLAY, browse, onPage } from './chromium.mjs';

const wish = JSON.parse(process.argv[2]);

const PAGE = '<!doctype html><meta charset="utf-8"><title>Glass</title><canvas id="canvas" width="640" height="360"></canvas><video id="video" autoplay playsinline muted></video><script src="/bars.js"></script>';

// All of it runs in the page.
async function measure(wish) {
  const START = 30_000;
  const errors = [];
  const [canvas, video] = [document.getElementById('canvas'), document.getElementById('video')];
  const wall = () => performance.timeOrigin + performance.now();

  function show() {
    paintBars(canvas, Math.round(wall()) & 0xffff);
    requestAnimationFrame(show);
  }

  async function exchange(pc, url) {
    await pc.setLocalDescription(await pc.createOffer());
    const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp });
    const text = await response.text();
    if (response.status !== 201) throw new Error(`${url}: ${response.status} ${text}`);
    await pc.setRemoteDescription({ type: 'answer', sdp: text });
  }

  show();
  const [sender, player] = [new RTCPeerConnection(), new RTCPeerConnection()];
  const [track] = canvas.captureStream(wish.rate ?? 60).getTracks();
  const transceiver = sender.addTransceiver(track, { direction: 'sendonly' });
  if (wish.codec) {
    const codecs = RTCRtpSender.getCapabilities('video').codecs;
    transceiver.setCodecPreferences(codecs.filter((codec) => codec.mimeType === wish.codec || codec.mimeType === 'video/rtx'));
  }
  await exchange(sender, wish.publish);
  player.ontrack = ({ track }) => (video.srcObject = new MediaStream([track]));
  player.addTransceiver('video', { direction: 'recvonly' });
  await exchange(player, wish.play);
  const found = { shown: [], unreadable: 0 };
  const until = await new Promise((begun, failed) => {
    setTimeout(() => failed(new Error('no picture')), START);
    // The first second is the beginning: the encoder's rate has to rise.
    video.requestVideoFrameCallback(() => begun(performance.now() + 1000 + (wish.seconds ?? 10) * 1000));
  });
  await new Promise((done) => {
    const look = (now, { expectedDisplayTime }) => {
      const time = readBars(video);
      if (until - now > (wish.seconds ?? 10) * 1000) {
        // Not yet.
      } else if (time === undefined) {
        found.unreadable += 1;
      } else {
        // A browser that is late tells when it should have been shown.
        const at = Math.max(wall(), performance.timeOrigin + expectedDisplayTime);
        found.shown.push((Math.round(at) - time) & 0xffff);
      }
      if (now < until) video.requestVideoFrameCallback(look);
      else done();
    };
    video.requestVideoFrameCallback(look);
  });
  const stats = [...(await player.getStats()).values()].find((entry) => entry.type === 'inbound-rtp');
  const buffer = (stats.jitterBufferDelay / stats.jitterBufferEmittedCount) * 1000;
  const sorted = found.shown.sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return { errors, pictures: sorted.length, unreadable: found.unreadable, p50: at(0.5), p95: at(0.95), p99: at(0.99), most: at(1), jitterBuffer: Math.round(buffer), framesDropped: stats.framesDropped };
}

await browse(AUTOPLAY, {}, (context) =>
  onPage(context, PAGE, async (page) => {
    console.log(JSON.stringify(await page.evaluate(measure, wish)));
  }),
);
