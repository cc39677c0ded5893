"""The two documents that the launcher asks of the API, served over real HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.command import AttemptRef, CancelCommand, Command, covered_digest
from contracts.identifiers import new_id
from contracts.tokens import Audience, KeyRing
from tests.launcher.samples import a_command


class Api:
    """`up` may be taken away; `keys` may be changed."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.jwks_url = f"{self.base_url}/.well-known/jwks.json"
        self.keys = KeyRing([Ed25519PrivateKey.generate()])
        self.up = True
        self.time_asked: list[datetime] = []
        self.keys_asked = 0

    @classmethod
    @contextmanager
    def serve(cls) -> "Iterator[Api]":
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        api = cls(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if not self.up:
            request.send_error(503)
            return
        if request.path == "/v1/time":
            self.time_asked.append(datetime.now(UTC))
            document: object = {"now": self.time_asked[-1].isoformat()}
        else:
            self.keys_asked += 1
            document = self.keys.jwks()
        request.send_response(200)
        request.end_headers()
        request.wfile.write(json.dumps(document).encode())

    def sign(self, ref: AttemptRef, audience: Audience = "stratum:start", expires_in: float = 60) -> str:
        work = covered_digest(ref.model_dump_json().encode()) if isinstance(ref, Command) and audience == "stratum:start" else None
        return self.keys.sign(audience, ref, datetime.now(UTC) + timedelta(seconds=expires_in), work=work)

    def command(self, parameters: dict[str, object] | None = None, **changes: object) -> Command:
        """A genuine command."""
        command = a_command(parameters, **changes)
        return command.model_copy(update={"flow_token": self.sign(command)})

    def cancel(self, ref: AttemptRef) -> CancelCommand:
        """A genuine cancel."""
        fields = {name: getattr(ref, name) for name in ("tenant", "process_id", "step", "attempt")}
        return CancelCommand(**fields, message_id=new_id(), flow_token=self.sign(ref, "stratum:cancel"))
