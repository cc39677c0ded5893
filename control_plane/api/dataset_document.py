"""A dataset as the API shows it: its manifest and a presigned URL for each of its files, of which there may be a hundred thousand."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse

from control_plane.api.presigning import Presigner
from control_plane.api.services import Services
from control_plane.database import queries
from control_plane.errors import Missing
from control_plane.missing import with_suggestions
from control_plane.retirement.retire import check_not_retired
from control_plane.turns import Room, Turns

LARGE = 1000
"""Files. More of them are told piece by piece, as fast as they are read."""
MOST_AT_ONCE = 2
"""Large ones of one replica: each takes some fifty megabytes until its last byte was taken."""
_CHARACTERS, _URLS = 1 << 18, 500
"""Of a piece."""
_MEDIA_TYPE = "application/json"


def turns() -> Turns:
    """For large documents. Nobody waits for one: the documents before it may take minutes."""
    refusal = "Datasets of very many files are being read already, by this tenant or by others; nothing was done. Send the request again."
    return Turns(MOST_AT_ONCE, 1, Room(of_one=1, of_all=MOST_AT_ONCE, refusal=refusal))


async def dataset_response(services: Services, tenant: str, entity_id: str, data_version: str, dataset: str) -> Response:
    """The dataset.

    Raises:
        NotFound: there is none; with the nearest names.
        Retired: there is none any more.
        Busy: it has very many files, and as many such are read as may.
    """
    where = {"tenant": tenant, "entity_id": entity_id, "data_version": data_version, "dataset": dataset}
    async with AsyncExitStack() as held:
        async with with_suggestions(services.database, tenant), services.database.tenant(tenant) as connection:
            found = await queries.find_dataset(connection, **where)
            if found is None:
                raise Missing(entity_id, data_version, dataset)
            await check_not_retired(connection, tenant, entity_id, data_version, [dataset])
            if found["files"] > LARGE:
                await held.enter_async_context(services.large_answers.turn(tenant))
            manifest = await queries.read_manifest(connection, **where)
        pieces = _pieces(services.presigner, services.settings.presigned_seconds, found, manifest["text"], manifest["keys"])
        if found["files"] > LARGE:
            return _Held(pieces, held.pop_all())
        return Response(b"".join([piece async for piece in pieces]), media_type=_MEDIA_TYPE)


class _Held(StreamingResponse):
    """Keeps what its document needs until the last piece was taken, or nobody reads on."""

    def __init__(self, pieces: AsyncIterator[bytes], held: AsyncExitStack) -> None:
        super().__init__(pieces, media_type=_MEDIA_TYPE)
        self._held = held

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


async def _pieces(presigner: Presigner, seconds: int, found: Any, text: str, keys: list[str]) -> AsyncIterator[bytes]:
    """The manifest, and behind its last member those that are the API's own."""
    end = text.rindex("}")
    for begin in range(0, end, _CHARACTERS):
        yield text[begin : min(begin + _CHARACTERS, end)].encode()
    own = {"manifest": f"s3://{found['bucket']}/{found['manifest_key']}", "manifest_sha256": found["manifest_sha256"]}
    yield f', {json.dumps(own)[1:-1]}, "urls": ['.encode()
    for begin in range(0, len(keys), _URLS):
        some = keys[begin : begin + _URLS]
        urls = await presigner.gets(found["bucket"], some, seconds)
        listed = json.dumps([{"key": key, "url": url} for key, url in zip(some, urls, strict=True)])
        yield (", " if begin else "").encode() + listed[1:-1].encode()
    yield b"]}"
