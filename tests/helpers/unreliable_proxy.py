"""A proxy between a browser and the page that loses connections, answers, or its tongue, when it is told to."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

STREAM = b"GET /gradio_api/queue/data"


class UnreliableProxy:
    """Listens on loopback at `url` while it is entered.

    reachable: whether it takes connections; to make it False also ends those that there are. streams: what becomes of
    the streams in which the page answers: None they come, "cut" they break off at once, "end" they end at once as if
    that were all, "silent" nothing comes of them.
    """

    def __init__(self, port: int) -> None:
        self.streams: str | None = None
        self._port = port
        self._reachable = True
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def reachable(self) -> bool:
        return self._reachable

    @reachable.setter
    def reachable(self, reachable: bool) -> None:
        self._reachable = reachable
        if not reachable:
            for each in list(self._open):
                _close(each)

    def __enter__(self) -> UnreliableProxy:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.reachable = False
        _close(self._listener)

    def _listen(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self._open.add(client)  # before the question, so that no connection is in between when it ends
                if not self._reachable:
                    _close(client)
                    self._open.discard(client)
                    continue
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):  # either side has gone
            server = socket.create_connection(("127.0.0.1", self._port))
            self._open.add(server)
            fate: list[str | None] = [None]  # of what is being answered on this connection
            threading.Thread(target=self._answer, args=(client, server, fate), daemon=True).start()
            while request := client.recv(2**16):
                if request.startswith((b"GET ", b"POST ")):
                    fate[0] = self.streams if request.startswith(STREAM) else None
                server.sendall(request)
            _close(server)

    def _answer(self, client: socket.socket, server: socket.socket, fate: list[str | None]) -> None:
        with suppress(OSError):
            while answer := server.recv(2**16):
                if fate[0] == "end":
                    head = answer.partition(b"\r\n\r\n")[0]
                    client.sendall(head + b"\r\n\r\n0\r\n\r\n")
                if fate[0] in ("cut", "end"):
                    break
                if fate[0] is None:
                    client.sendall(answer)
        _close(client)
        _close(server)
        self._open -= {client, server}


def _close(connection: socket.socket) -> None:
    with suppress(OSError):  # has gone already
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
