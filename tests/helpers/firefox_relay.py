"""Starts Firefox with the arguments given, and answers for it the one command of Playwright's that Firefox 153 lacks.

Playwright drives a Firefox that it has not built itself by WebDriver BiDi, at the address that Firefox prints. It
chooses light or dark in each new context, which Firefox's long-term release cannot do yet. This program prints the
address of a relay instead. Without it, no context could be opened.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler, websocket_connect

ANNOUNCES = "WebDriver BiDi listening on "
LACKS = "emulation.setMediaFeaturesOverride"
LARGEST = 2**30  # bytes of a message


class Relay(WebSocketHandler):
    """Between Playwright and Firefox, which listens at `address`."""

    def initialize(self, address: str) -> None:
        self.address = address

    async def open(self) -> None:
        connect = websocket_connect(self.address, on_message_callback=self.answer, max_message_size=LARGEST)
        self.firefox = await connect

    async def on_message(self, message: str) -> None:
        asked = json.loads(message)
        if asked["method"] == LACKS:
            self.answer(json.dumps({"type": "success", "id": asked["id"], "result": {}}))
        else:
            await self.firefox.write_message(message)

    def answer(self, message: str | None) -> None:
        if message is None:  # Firefox has ended
            self.close()
        elif self.ws_connection:
            self.write_message(message)

    def on_close(self) -> None:
        self.firefox.close()


def listen(address: str) -> str:
    """The address of a relay to Firefox at `address`."""
    (socket,) = bind_sockets(0, "127.0.0.1")
    route = ("/session", Relay, {"address": f"{address}/session"})
    application = Application([route], websocket_max_message_size=LARGEST)
    HTTPServer(application).add_sockets([socket])
    return f"ws://127.0.0.1:{socket.getsockname()[1]}"


async def main(*command: str) -> int:
    firefox = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    async for line in firefox.stdout:
        before, announces, address = line.decode(errors="replace").rstrip().partition(ANNOUNCES)
        print(before + announces + (listen(address) if announces else address), flush=True)
    return await firefox.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
