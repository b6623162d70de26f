// Which addresses the parameters of a page give. Run by `npm test`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mediaUrl, rtcApi, rtcUrl, shareLink, whipUrl } from '../dist-test/place.js';

const PLAIN = { protocol: 'http:', hostname: 'a.com', port: '8080' };
const SECURE = { protocol: 'https:', hostname: 'a.com', port: '' };
const SECURE_PORT = { ...SECURE, port: '8088' };
const q = (text) => new URLSearchParams(text);

test('the address of a stream', () => {
  for (const [query, url] of [
    ['', 'http://a.com:8080/live/livestream.flv'],
    ['app=x/y&stream=s.m3u8&port=80', 'http://a.com/x/y/s.m3u8'],
    ['server=1.2.3.4&vhost=1.2.3.4&token=a%26b', 'http://1.2.3.4:8080/live/livestream.flv?token=a%26b'],
    ['vhost=b.com', 'http://a.com:8080/live/livestream.flv?vhost=b.com'],
    ['domain=b.com', 'http://a.com:8080/live/livestream.flv?vhost=b.com'],
    ['vhost=__defaultVhost__&autostart=true&buffer=1', 'http://a.com:8080/live/livestream.flv'],
    ['server=%3A%3A1&vhost=__defaultVhost__', 'http://[::1]:8080/live/livestream.flv'],
    ['schema=rtmp&stream=s', 'rtmp://a.com/live/s'],
    ['schema=rtmp&stream=s&port=1936', 'rtmp://a.com:1936/live/s'],
  ]) {
    assert.equal(mediaUrl(q(query), PLAIN), url);
  }
  assert.equal(mediaUrl(q(''), { ...PLAIN, port: '' }), 'http://a.com/live/livestream.flv');
  assert.equal(mediaUrl(q('server=b.com&vhost=b.com'), { ...PLAIN, port: '' }), 'http://b.com:8080/live/livestream.flv');
  assert.equal(mediaUrl(q(''), SECURE), 'https://a.com/live/livestream.flv');
  assert.equal(mediaUrl(q(''), SECURE_PORT), 'https://a.com:8088/live/livestream.flv');
});

test('the address of a WebRTC stream, and of its API', () => {
  assert.equal(rtcUrl(q('eip=1.2.3.4'), PLAIN), 'webrtc://a.com:1985/live/livestream?eip=1.2.3.4');
  assert.equal(rtcUrl(q(''), SECURE), 'webrtc://a.com/live/livestream');
  assert.equal(rtcUrl(q('api=2000'), SECURE), 'webrtc://a.com:2000/live/livestream');
  const stream = 'webrtc://a.com:1985/live/s?token=x';
  assert.equal(rtcApi(stream, 'play', q(''), PLAIN), 'http://a.com:1985/rtc/v1/play/?token=x');
  assert.equal(rtcApi(stream, 'publish', q('publish=/p/&schema=https'), PLAIN), 'https://a.com:1985/p/?token=x');
});

test('the address of WHIP and WHEP', () => {
  assert.equal(whipUrl('publish', q('codec=av1'), PLAIN), 'http://a.com:1985/rtc/v1/whip/?app=live&stream=livestream&codec=av1');
  assert.equal(whipUrl('play', q('vhost=b.com'), SECURE), 'https://a.com:1990/rtc/v1/whep/?app=live&stream=livestream&vhost=b.com');
  assert.equal(whipUrl('play', q('path=/w/&api=80&stream=s'), PLAIN), 'http://a.com/w/?app=live&stream=s');
});

test('a shared link leads to the same address', () => {
  for (const query of ['', 'server=b.com&vhost=c.com&app=x&stream=s.m3u8&token=t', 'schema=rtmp&stream=s', 'port=80']) {
    const url = mediaUrl(q(query), PLAIN);
    const link = new URL(shareLink('http://a.com:8080/players/srs_player.html?x', url, q('buffer=3')));
    assert.equal(mediaUrl(link.searchParams, { ...PLAIN, hostname: 'other.com' }), url);
    assert.equal(link.searchParams.get('autostart'), 'true');
    assert.equal(link.searchParams.get('buffer'), '3');
  }
});
