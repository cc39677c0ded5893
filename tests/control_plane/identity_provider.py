"""An identity provider: its discovery document and keys over real HTTP, and tokens signed with them."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUDIENCE = "stratum-test"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


class IdentityProvider:
    """`up` may be taken away, `slow` makes it hold its answers, `keys` may be changed; `asked` counts requests for the keys."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}/realm"
        self.keys: dict[str, PrivateKey] = {"first": rsa_key()}
        self.more_jwks: list[dict[str, Any]] = []
        self.up = True
        self.answers_again = threading.Event()
        self.answers_again.set()
        self.asked = 0

    @classmethod
    @contextmanager
    def serve(cls) -> "Iterator[IdentityProvider]":
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        provider = cls(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield provider
        finally:
            provider.answers_again.set()
            server.shutdown()
            thread.join()
            server.server_close()

    @property
    def settings(self) -> dict[str, Any]:
        """What an API is told of it."""
        return {"oidc_issuer": self.issuer, "oidc_audience": AUDIENCE}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path.endswith("/keys"):
            self.asked += 1
        self.answers_again.wait()
        if not self.up:
            request.send_error(503)
            return
        document: dict[str, Any] = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}
        if request.path.endswith("/keys"):
            document = {"keys": [*map(self._jwk, self.keys), *self.more_jwks]}
        request.send_response(200)
        request.end_headers()
        request.wfile.write(json.dumps(document).encode())

    def _jwk(self, kid: str) -> dict[str, Any]:
        key = self.keys[kid].public_key()
        if isinstance(key, rsa.RSAPublicKey):
            return {**jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True), "kid": kid, "use": "sig"}
        return {**jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True), "kid": kid}

    def claims(self, tenant: str, /, *roles: str, **changes: Any) -> dict[str, Any]:
        """Good claims, changed; a change to None takes one out."""
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300, "tenant": tenant, "roles": list(roles)}
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def token(self, tenant: str, /, *roles: str, kid: str = "first", algorithm: str = "RS256", **changes: Any) -> str:
        """A token signed with the key `kid`."""
        return jwt.encode(self.claims(tenant, *roles, **changes), self.keys[kid], algorithm, headers={"kid": kid})

    def forged(self, header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
        """A token of any header, unsigned or signed by HMAC with `secret`."""
        message = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        return f"{message}.{_encoded(hmac.new(secret, message.encode(), hashlib.sha256).digest()) if secret is not None else ''}"

    def public_pem(self, kid: str = "first") -> bytes:
        return self.keys[kid].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
