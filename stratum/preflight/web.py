"""HTTP as the checks use it."""

import ssl
from functools import cache
from pathlib import Path

import certifi
import httpx

SECONDS = 10.0


def client(ca_bundle: Path | None) -> httpx.Client:
    """A client that trusts the public authorities and those of `ca_bundle`; no retries."""
    return httpx.Client(timeout=SECONDS, verify=_trust(ca_bundle))


@cache
def _trust(ca_bundle: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certifi.where())
    if ca_bundle is not None:
        context.load_verify_locations(ca_bundle)
    return context


def words(error: httpx.HTTPError) -> str:
    """What went wrong, short."""
    return str(error) or type(error).__name__
