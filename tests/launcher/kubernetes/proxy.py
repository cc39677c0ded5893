"""A TCP proxy before a real API server, through which connections fail in the ways that networks fail."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Mode = Literal["pass", "swallow answers", "silent", "refuse"]


class Proxy:
    """`swallow answers`: what is asked arrives, but the connection ends before the answer. `silent`: nothing passes any more."""

    def __init__(self, host: str, port: int) -> None:
        self.mode: Mode = "pass"
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def running(cls, host: str, port: int) -> "Iterator[Proxy]":
        """The proxy, with a thread that accepts."""
        proxy = cls(host, port)
        thread = threading.Thread(target=proxy._accept, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy._listener.close()
            proxy.cut()

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """End every connection there is."""
        with self._lock:
            connections = list(self._open)
        for each in connections:
            _end(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode == "refuse":
                client.close()
                continue
            server = socket.create_connection(self._target)
            with self._lock:
                self._open |= {client, server}
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.mode == "silent":
                    continue
                if self.mode == "swallow answers" and is_answer:
                    break
                target.sendall(data)
        _end(source)
        _end(target)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
