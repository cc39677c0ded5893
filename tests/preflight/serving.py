"""Servers that the tests start: the real API, and stores and APIs that are not as they should be."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from stratum.local.ports import choose_port
from tests.control_plane.installation import Installation


@contextmanager
def api_of(installation: Installation, host: str = "127.0.0.1") -> Iterator[str]:
    """`python -m control_plane api`, ready inside the block. Gives its address on this machine."""
    port = choose_port(set())
    settings = {**os.environ, **installation.environment, "STRATUM_HTTP_HOST": host, "STRATUM_HTTP_PORT": str(port)}
    with tempfile.TemporaryFile() as log:
        api = subprocess.Popen([sys.executable, "-m", "control_plane", "api"], env=settings, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 180
            while not _is_ready(url):
                if api.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise AssertionError(f"the API is not ready: {log.read()[-2000:]!r}")
                time.sleep(0.1)
            yield url
        finally:
            api.terminate()
            api.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def proxy(upstream: str, change: Callable[[str, dict[str, str], bytes], httpx.Response | None], host: str = "127.0.0.1") -> Iterator[str]:
    """An HTTP server that hands every request on to `upstream`, unless `change(method and path, headers, body)` answers itself."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = dict(self.headers)
            answer = change(f"{self.command} {self.path}", headers, body) or client.request(
                self.command, f"{upstream}{self.path}", headers=headers, content=body
            )
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server", "content-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer

        def log_message(self, *_: Any) -> None:
            pass

    with httpx.Client(timeout=30, headers={}) as client:
        server = ThreadingHTTPServer((host, 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{host}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
