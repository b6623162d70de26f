"""aiortc as a server of WHIP: takes one publisher after the other, and prints what it gets, one line of JSON for each thing that happens.

    python3 whip_aiortc.py '{"port": 8080, "token": "secret", "pictures": 50, "sounds": 50}'

`{"refused": …}` for an offer without the token, `{"enough": …}` when so many pictures and frames of sound are decoded, and `{"deleted": …}` at the end of a
session, which ends the server, too, once it has had enough. Offers at `/moved/…` are sent to `/whip/…`.
"""

import asyncio
import contextlib
import json
import sys

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription


class Server:
    def __init__(self, wish):
        self.wish = wish
        self.seen = {"pictures": 0, "sounds": 0, "loudest": 0, "codecs": []}
        self.connection = None
        self.is_last = False
        self.over = asyncio.Event()

    async def serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        status, more, text = await self.answer(method, path, headers, body.decode())
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(text)}", "Connection: close", *more]
        writer.write("\r\n".join([*lines, "", text]).encode())
        await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        if self.is_last:
            self.over.set()

    async def answer(self, method, path, headers, body):
        if headers.get("authorization") != "Bearer " + self.wish["token"]:
            tell("refused", {"method": method, "path": path})
            return "401 Unauthorized", ["Content-Type: text/plain"], "this token opens nothing"
        if method == "DELETE":
            await self.connection.close()
            tell("deleted", {"path": path, **self.seen})
            # Before that, the session has failed, and another one is to come.
            self.is_last = self.has_enough()
            return "200 OK", [], ""
        if path.startswith("/moved/"):
            return "307 Temporary Redirect", ["Location: /whip/" + path.removeprefix("/moved/")], ""
        if headers.get("content-type") != "application/sdp":
            return "415 Unsupported Media Type", [], ""
        # It would ask a server of STUN on the internet otherwise, and wait for it.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.on("track", self.watch)
        await self.connection.setRemoteDescription(RTCSessionDescription(body, "offer"))
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        more = ["Content-Type: application/sdp", "Location: /session/1"]
        return "201 Created", more, self.connection.localDescription.sdp

    def watch(self, track):
        self.task = asyncio.ensure_future(self.count(track))

    async def count(self, track):
        kind = "pictures" if track.kind == "video" else "sounds"
        while True:
            frame = await track.recv()
            self.seen[kind] += 1
            if kind == "pictures":
                self.seen["size"] = [frame.width, frame.height]
            else:
                samples = memoryview(bytes(frame.planes[0])).cast("h")
                self.seen["loudest"] = max(self.seen["loudest"], max(samples, default=0))
            if self.seen[kind] == self.wish[kind] and self.has_enough():
                tell("enough", self.seen)

    def has_enough(self):
        return all(self.seen[kind] >= self.wish[kind] for kind in ("pictures", "sounds"))


def tell(what, more):
    print(json.dumps({what: more}), flush=True)


async def main(wish):
    server = Server(wish)
    await asyncio.start_server(server.serve, "127.0.0.1", wish["port"])
    tell("ready", {})
    await server.over.wait()


asyncio.run(main(json.loads(sys.argv[1])))
