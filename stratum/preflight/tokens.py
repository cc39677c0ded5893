"""Keys that sign and verify tokens, and the address that tokens are sent to."""

import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from contracts.errors import SigningKeyError
from contracts.tokens import KeyRing
from stratum.preflight import web
from stratum.preflight.finding import Finding, failed, passed, skipped, warned
from stratum.preflight.runner import Check
from stratum.preflight.target import Target, is_loopback

GROUP = "tokens"
_NEW_KEY = "Make one: openssl genpkey -algorithm ed25519 -out signing-key.pem"


def checks(target: Target) -> list[Check]:
    """The checks of this group."""
    tokens = Tokens(target)
    return [
        Check(GROUP, "public keys", tokens.public_keys),
        Check(GROUP, "signing key", tokens.signing_key),
        Check(GROUP, "published", tokens.published, needs=("public keys", "signing key")),
        Check(GROUP, "callback address", lambda: judge_callback(target.callback_base_url, on_cluster=target.kind == "cluster")),
    ]


class Tokens:
    """The keys of one installation. `ring` and `jwks` are there after their checks have passed."""

    ring: KeyRing
    jwks: list[dict[str, str]]

    def __init__(self, target: Target) -> None:
        self._target = target

    def public_keys(self) -> Finding:
        """The JWKS is reachable, and all its keys are Ed25519."""
        base = self._target.callback_base_url or self._target.url
        url = self._target.jwks_url or (f"{base.rstrip('/')}/.well-known/jwks.json" if base else None)
        if url is None:
            return skipped("STRATUM_JWKS_URL is not set", "Set it to the API's address with /.well-known/jwks.json.")
        remedy = "Let STRATUM_JWKS_URL name /.well-known/jwks.json of the API, as the launcher reaches it."
        try:
            with web.client(self._target.ca_bundle) as client:
                response = client.get(url)
            response.raise_for_status()
            self.jwks = list(response.json()["keys"])
        except httpx.HTTPError as error:
            return failed(f"{url}: {web.words(error)}", remedy)
        except (ValueError, KeyError, TypeError):
            return failed(f"{url} answers something that is no key set", remedy)
        return judge_keys(self.jwks, url)

    def signing_key(self) -> Finding:
        """The private keys can be read, and by nobody else."""
        if self._target.signing_key_file is None:
            return skipped("STRATUM_SIGNING_KEY_FILE is not set", "Only api and relay need it; set it where they run.")
        try:
            self.ring = KeyRing.load(self._target.signing_key_file)
        except SigningKeyError as error:
            return failed(str(error), f"{_NEW_KEY}; then let STRATUM_SIGNING_KEY_FILE name it.")
        files = [Path(file) for file in self._target.signing_key_file.split(os.pathsep) if file]
        open_to_all = [str(file) for file in files if file.stat().st_mode & stat.S_IROTH]
        if open_to_all:
            return warned(
                f"everybody on this machine may read {', '.join(open_to_all)}",
                f"chmod 600 {' '.join(open_to_all)} (a Secret's volume: defaultMode 0440).",
            )
        count = len(self.ring.jwks()["keys"])
        return passed(f"{count} Ed25519 key{'s' * (count != 1)} in {', '.join(map(str, files))}")

    def published(self) -> Finding:
        """The public part of each private key is in the JWKS: else the launcher takes commands for forged."""
        missing = {key["kid"] for key in self.ring.jwks()["keys"]} - {key.get("kid") for key in self.jwks}
        if missing:
            return failed(
                f"the API does not publish {', '.join(sorted(missing))}",
                "Give api and relay the same STRATUM_SIGNING_KEY_FILE, and restart the one that has the older.",
            )
        return passed("the API publishes the public part of each")


def judge_keys(keys: list[dict[str, str]], url: str) -> Finding:
    """Judge the key set."""
    if not keys:
        return failed(f"{url} holds no key", f"{_NEW_KEY}; let the API's STRATUM_SIGNING_KEY_FILE name it.")
    others = [key.get("kid", "a key without an id") for key in keys if (key.get("kty"), key.get("crv")) != ("OKP", "Ed25519")]
    if others:
        return failed(f"not Ed25519: {', '.join(others)}", _NEW_KEY)
    return passed(f"{len(keys)} Ed25519 key{'s' * (len(keys) != 1)} at {url}")


def judge_callback(url: str | None, *, on_cluster: bool = False) -> Finding:
    """Judge where runs send their tokens: encrypted, or not beyond the cluster or this machine."""
    if url is None:
        return skipped("STRATUM_CALLBACK_BASE_URL is not set", "Set it to the API's address as runs reach it.")
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        return failed(f"{url} is no address", "Set STRATUM_CALLBACK_BASE_URL to http(s)://host:port.")
    if on_cluster and is_loopback(host):
        return failed(f"{url} is the pod itself to every run", "Set STRATUM_CALLBACK_BASE_URL to the API's Service, or its Ingress.")
    if parts.scheme == "https":
        return passed(url)
    if is_loopback(host):
        return passed(f"{url}, on this machine alone")
    if "." not in host or host.endswith((".svc", ".svc.cluster.local")):
        return passed(f"{url}, inside the cluster")
    return warned(
        f"{url}: tokens of runs travel unencrypted", "Serve the API over https, or let runs reach it by its Service inside the cluster."
    )
