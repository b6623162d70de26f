"""aiortc publishes by WHIP or plays by WHEP, and prints what it has seen as one line of JSON.

    python3 peer_aiortc.py '{"publish": URL, "codec": "H264", "seconds": 5}'
    python3 peer_aiortc.py '{"play": URL, "pictures": 50, "sounds": 50}'

A publisher sends its fake pictures and sound for its seconds; a player ends as soon as it has decoded so many pictures and frames of
sound, or after 30 seconds.
"""

import asyncio
import fractions
import json
import math
import struct
import sys
import urllib.error
import urllib.parse
import urllib.request

import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

PATIENCE = 30


class Tone(AudioStreamTrack):
    """440 Hz instead of silence."""

    async def recv(self):
        silence = await super().recv()
        rate, samples = silence.sample_rate, silence.samples
        values = [int(8000 * math.sin(2 * math.pi * 440 * (silence.pts + n) / rate)) for n in range(samples)]
        frame = av.AudioFrame(format="s16", layout="mono", samples=samples)
        frame.planes[0].update(struct.pack(f"<{samples}h", *values))
        frame.pts, frame.sample_rate, frame.time_base = silence.pts, rate, fractions.Fraction(1, rate)
        return frame


def send(url, method, body=None):
    request = urllib.request.Request(url, body, {"Content-Type": "application/sdp"}, method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{method}: {error.code} {error.read().decode()}") from None


async def exchange(connection, url):
    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp
    _, headers, answer = await asyncio.to_thread(send, url, "POST", offer.encode())
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return urllib.parse.urljoin(url, headers["Location"])


async def connected(connection):
    while connection.connectionState != "connected":
        if connection.connectionState in ("failed", "closed"):
            raise RuntimeError(f"connection {connection.connectionState}")
        await asyncio.sleep(0.02)


async def publish(connection, wish, seen):
    connection.addTrack(Tone())
    connection.addTrack(VideoStreamTrack())
    wanted = "video/" + wish.get("codec", "H264")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    connection.getTransceivers()[1].setCodecPreferences([codec for codec in codecs if codec.mimeType in (wanted, "video/rtx")])
    location = await exchange(connection, wish["publish"])
    await connected(connection)
    await asyncio.sleep(wish.get("seconds", 5))
    return location


async def play(connection, wish, seen):
    counting = []

    @connection.on("track")
    def watch(track):
        kind = "pictures" if track.kind == "video" else "sounds"
        counting.append(asyncio.ensure_future(count(track, kind, wish.get(kind, 50), seen)))

    connection.addTransceiver("audio", direction="recvonly")
    connection.addTransceiver("video", direction="recvonly")
    location = await exchange(connection, wish["play"])
    await connected(connection)
    await asyncio.gather(*counting)
    return location


async def count(track, kind, wanted, seen):
    while seen[kind] < wanted:
        frame = await track.recv()
        seen[kind] += 1
        if kind == "pictures":
            seen["size"] = [frame.width, frame.height]
        else:
            samples = memoryview(bytes(frame.planes[0])).cast("h")
            seen["loudest"] = max(seen["loudest"], max(samples, default=0))


async def main(wish):
    seen = {"errors": [], "pictures": 0, "sounds": 0, "loudest": 0}
    # It would ask a server of STUN on the internet otherwise, and wait for it.
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        work = publish if "publish" in wish else play
        location = await asyncio.wait_for(work(connection, wish, seen), PATIENCE)
        seen["deleted"] = (await asyncio.to_thread(send, location, "DELETE"))[0]
    except Exception as error:
        seen["errors"].append(repr(error))
    await connection.close()
    print(json.dumps(seen), flush=True)


asyncio.run(main(json.loads(sys.argv[1])))
