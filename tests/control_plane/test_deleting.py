"""Many objects go with few requests, whatever their keys are, and what a store does not delete is said."""

import base64
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest, AWSResponse

from control_plane.errors import ControlPlaneError, StorageRefused, StorageUnavailable
from control_plane.storage import Storage
from tests.control_plane.caller import BUCKET
from tests.control_plane.installation import Installation

ODD = ("a b", "a&amp;<b>", "ü/ß.parquet", "a+b%20c", "quote'\"", "new\nline", "control\x01character")


@pytest.fixture
def storage(still: Installation) -> Storage:
    own = Storage(still.reconcile_settings)
    own.ensure_bucket(BUCKET)
    return own


def _watched(storage: Storage, watch: Callable[..., AWSResponse | None]) -> None:
    storage._client.meta.events.register("before-send.s3", watch)


def test_a_thousand_objects_go_with_one_request(still: Installation, storage: Storage) -> None:
    prefix = f"{still.topic_prefix}/deleted/"
    keys = [f"{prefix}{number:04d}" for number in range(1050)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: storage.put_new(BUCKET, key, b"x"), keys))
    sent: list[AWSRequest] = []
    _watched(storage, lambda request, **_: sent.append(request))
    storage.delete(BUCKET, [*keys, f"{prefix}not-there"])
    assert len(sent) == 2
    for request in sent:
        digest = base64.b64encode(hashlib.md5(request.body, usedforsecurity=False).digest())
        assert request.headers["Content-MD5"] == digest, "stores that know no newer checksum want this one"
    assert storage.list(BUCKET, prefix) == []


def test_whatever_their_keys_are(still: Installation, storage: Storage) -> None:
    prefix = f"{still.topic_prefix}/odd/"
    for name in ODD:
        storage.put_new(BUCKET, prefix + name, b"x")
    there = [item.key for item in storage.list(BUCKET, prefix)]
    assert len(there) == len(ODD)
    storage.delete(BUCKET, there)
    assert storage.list(BUCKET, prefix) == []


class _Answer:
    """Bytes of a body as botocore reads them."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> list[bytes]:
        return [self._body]


@pytest.mark.parametrize(("code", "error"), [("AccessDenied", StorageRefused), ("InternalError", StorageUnavailable), ("NoSuchKey", None)])
def test_what_is_refused_for_single_keys_is_said(storage: Storage, code: str, error: type[ControlPlaneError] | None) -> None:
    body = f"<DeleteResult><Error><Key>b</Key><Code>{code}</Code><Message>why</Message></Error></DeleteResult>".encode()
    _watched(storage, lambda request, **_: AWSResponse(request.url, 200, {}, _Answer(body)))
    if error is None:
        storage.delete(BUCKET, ["a", "b"])
        return
    with pytest.raises(error, match=f"/b: {code} why") as raised:
        storage.delete(BUCKET, ["a", "b"])
    assert type(raised.value) is error
