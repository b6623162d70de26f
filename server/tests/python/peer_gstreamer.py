"""GStreamer's webrtcbin publishes by WHIP or plays by WHEP, and prints what it has seen as one line of JSON.

    python3 peer_gstreamer.py '{"publish": URL, "codec": "H264", "seconds": 5}'
    python3 peer_gstreamer.py '{"play": URL, "codec": "H264", "pictures": 50, "sounds": 50}'
    python3 peer_gstreamer.py '{"serve": PORT, "pictures": 50, "sounds": 50}'

A publisher ends after its seconds; a player, as soon as it has decoded so many pictures and buffers of sound, or after 30 seconds. The last one is a server of WHIP
for one publisher: it says `"ready"` when it listens and `"enough"` when it has decoded so much, and ends when its session is deleted.
"""

import http.server
import json
import sys
import threading
import time
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC

PATIENCE = 30

PICTURES = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=180,framerate=25/1 ! videoconvert"
SOUND = "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay pt=97"
ENCODERS = {
    "H264": "openh264enc gop-size=50 ! h264parse ! rtph264pay pt=96 config-interval=-1 aggregate-mode=zero-latency",
    "VP8": "vp8enc deadline=1 keyframe-max-dist=50 ! rtpvp8pay pt=96 picture-id-mode=15-bit",
}
DECODERS = {
    "H264": "rtph264depay ! h264parse ! avdec_h264",
    "VP8": "rtpvp8depay ! vp8dec",
    "OPUS": "rtpopusdepay ! opusdec",
}


class Peer:
    def __init__(self, wish):
        self.wish = wish
        self.url = wish.get("publish") or wish.get("play")
        self.publishes = "publish" in wish
        self.codec = wish.get("codec", "H264")
        self.seen = {"errors": [], "pictures": 0, "sounds": 0, "loudest": 0}
        self.location = None
        self.loop = GLib.MainLoop()
        self.pipeline = self.publisher() if self.publishes else self.player()
        self.webrtc = self.pipeline.get_by_name("webrtc")
        # libnice leaves the loopback interface out unless it is told to take it. webrtcbin does not hold its agent firmly: we do.
        self.agent = self.webrtc.get_property("ice-agent")
        self.agent.emit("add-local-ip-address", "127.0.0.1")
        self.webrtc.connect("on-negotiation-needed", self.negotiate)
        self.webrtc.connect("notify::ice-gathering-state", lambda *_: GLib.idle_add(self.exchange))
        self.webrtc.connect("notify::connection-state", self.moved)
        self.webrtc.connect("pad-added", self.watch)
        if "play" in wish:
            for text in (f"media=video,encoding-name={self.codec},clock-rate=90000,payload=96", "media=audio,encoding-name=OPUS,clock-rate=48000,payload=97"):
                caps = Gst.Caps.from_string(f"application/x-rtp,{text}")
                self.webrtc.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, caps)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, message: self.fail(str(message.parse_error())))

    def publisher(self):
        wanted = "application/x-rtp,media=video,encoding-name=" + self.codec
        return Gst.parse_launch(
            "webrtcbin name=webrtc bundle-policy=max-bundle "
            f"{PICTURES} ! {ENCODERS[self.codec]} ! {wanted},payload=96 ! queue ! webrtc. "
            f"{SOUND} ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! queue ! webrtc."
        )

    def player(self):
        return Gst.parse_launch("webrtcbin name=webrtc bundle-policy=max-bundle latency=100 fakesrc ! fakesink")

    def run(self):
        GLib.timeout_add_seconds(PATIENCE, self.fail, "not in time")
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        if self.location:
            self.seen["deleted"] = urllib.request.urlopen(urllib.request.Request(self.location, method="DELETE")).status
        self.pipeline.set_state(Gst.State.NULL)
        print(json.dumps(self.seen), flush=True)

    def fail(self, reason):
        self.seen["errors"].append(reason)
        self.loop.quit()

    def negotiate(self, webrtc):
        def offered(promise, *_):
            # The offer lives in the reply.
            reply = promise.get_reply()
            offer = reply.get_value("offer")
            self.webrtc.emit("set-local-description", offer, Gst.Promise.new())

        if not self.location:
            self.webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(offered))

    def exchange(self):
        """Sends the offer once it has all its candidates."""
        if self.location or self.webrtc.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        offer = self.webrtc.get_property("local-description").sdp.as_text()
        request = urllib.request.Request(self.url, offer.encode(), {"Content-Type": "application/sdp"}, method="POST")
        try:
            with urllib.request.urlopen(request) as response:
                answer = response.read()
                self.location = urllib.parse.urljoin(self.url, response.headers["Location"])
        except urllib.error.HTTPError as error:
            return self.fail(f"{error.code} {error.read().decode()}")
        self.seen |= {"offer": offer, "answer": answer.decode()}
        _, message = GstSdp.SDPMessage.new_from_text(answer.decode())
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.webrtc.emit("set-remote-description", description, Gst.Promise.new())

    def moved(self, *_):
        state = self.webrtc.get_property("connection-state")
        self.seen.setdefault("states", []).append(state.value_nick)
        if state == GstWebRTC.WebRTCPeerConnectionState.CONNECTED and self.publishes:
            GLib.timeout_add_seconds(self.wish.get("seconds", 5), self.loop.quit)
        elif state == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            self.fail("not connected")

    def watch(self, _, pad):
        """Decodes a track and counts what comes out."""
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        caps = pad.get_current_caps().get_structure(0)
        kind = "pictures" if caps.get_string("media") == "video" else "sounds"
        chain = Gst.parse_bin_from_description(f"{DECODERS[caps.get_string('encoding-name')]} ! fakesink name=end sync=false async=false", True)
        self.pipeline.add(chain)
        chain.get_by_name("end").get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, self.count, kind)
        chain.sync_state_with_parent()
        pad.link(chain.get_static_pad("sink"))

    def count(self, pad, info, kind):
        self.seen[kind] += 1
        buffer = info.get_buffer()
        if kind == "sounds":
            _, mapped = buffer.map(Gst.MapFlags.READ)
            samples = memoryview(mapped.data).cast("h")
            self.seen["loudest"] = max(self.seen["loudest"], max(samples, default=0))
            buffer.unmap(mapped)
        elif "size" not in self.seen:
            caps = pad.get_current_caps().get_structure(0)
            self.seen["size"] = [caps.get_int("width").value, caps.get_int("height").value]
        if all(self.seen[kind] >= self.wish.get(kind, 50) for kind in ("pictures", "sounds")):
            self.enough()
        return Gst.PadProbeReturn.OK

    def enough(self):
        GLib.idle_add(self.loop.quit)


class Server(Peer):
    """Answers one offer."""

    def __init__(self, wish):
        self.answered, self.answer = threading.Event(), None
        self.has_enough = False
        super().__init__(wish)

    def run(self):
        peer = self

        class Endpoint(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                peer.offered(self.rfile.read(int(self.headers["Content-Length"])).decode())
                answer = peer.answer.encode() if peer.answered.wait(10) else b""
                self.send_response(201 if answer else 500)
                for header in (("Content-Type", "application/sdp"), ("Location", "session"), ("Content-Length", str(len(answer)))):
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(answer)

            def do_DELETE(self):
                peer.seen["deleted"] = self.path
                self.send_response(204)
                self.end_headers()
                GLib.idle_add(peer.loop.quit)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.wish["serve"]), Endpoint)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps("ready"), flush=True)
        super().run()

    def negotiate(self, _):
        pass

    def offered(self, text):
        _, message = GstSdp.SDPMessage.new_from_text(text)
        offer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, message)

        def answered(promise, *_):
            reply = promise.get_reply()
            self.webrtc.emit("set-local-description", reply.get_value("answer"), Gst.Promise.new())

        def known(*_):
            self.webrtc.emit("create-answer", None, Gst.Promise.new_with_change_func(answered))

        self.webrtc.emit("set-remote-description", offer, Gst.Promise.new_with_change_func(known))

    def exchange(self):
        """Tells the answer once it has all its candidates."""
        description = self.webrtc.get_property("local-description")
        if self.answer or not description or self.webrtc.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        self.answer = description.sdp.as_text()
        self.answered.set()

    def enough(self):
        if not self.has_enough:
            self.has_enough = True
            print(json.dumps("enough"), flush=True)


Gst.init(None)
wish = json.loads(sys.argv[1])
(Server if "serve" in wish else Peer)(wish).run()
