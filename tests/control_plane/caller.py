"""A caller of the HTTP API, with the credential of one tenant."""

import hashlib
import io
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from tests.control_plane.waiting import PAUSE, eventually

if TYPE_CHECKING:
    from tests.control_plane.installation import Installation

BUCKET = "stratum-test"
ENTITY = "cust_8842"
VERSION = "v2024.10.05"
TABLE = pa.table({"carrier": ["AA", "UA", None, "AA"], "delay": [1, None, 3, 4]})


def parquet(table: pa.Table = TABLE, **options: Any) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def announced(name: str, data: bytes) -> dict[str, Any]:
    """A file as an upload announces it."""
    return {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def condition(number: int) -> dict[str, Any]:
    """Parameters of the action `filter`; other numbers make other work."""
    return {"condition": f"delay > {number}"}


_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For a store that is asked without TLS: it trusts nobody. A client's own context reads all of the system's certificates."""


class Caller:
    """Requests with one API key."""

    def __init__(self, client: httpx.AsyncClient, tenant: str, key: str, root: str, installation: "Installation") -> None:
        self.client = client
        self.tenant = tenant
        self.key = key
        self.root = root
        self.installation = installation

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return await self.request("POST", path, json=json, **options)

    async def ok(self, method: str, path: str, json: Any = None) -> Any:
        """The body of a request that must succeed."""
        answer = await self.request(method, path, json=json)
        assert answer.is_success, answer.text
        return answer.json()

    async def announce(self, files: Mapping[str, bytes], dataset: str = "source", version: str = VERSION, entity: str = ENTITY) -> Any:
        """An upload of these files, its `path` added; nothing is PUT yet."""
        path = f"/v1/entities/{entity}/versions/{version}/datasets/{dataset}/uploads"
        upload = await self.ok("POST", path, {"files": [announced(name, data) for name, data in files.items()]})
        return {**upload, "path": f"{path}/{upload['upload_id']}"}

    @staticmethod
    async def put(upload: dict[str, Any], files: Mapping[str, bytes]) -> list[httpx.Response]:
        """PUT the files of an upload; returns what the store answered to each."""
        async with httpx.AsyncClient(verify=_NO_TLS, timeout=30) as store:
            targets = upload["files"]
            return [await store.put(target["url"], content=files[target["name"]], headers=target["headers"]) for target in targets]

    async def begin_upload(self, dataset: str = "source", *files: bytes, version: str = VERSION, entity: str = ENTITY) -> dict[str, Any]:
        """Announce the files and PUT them; returns the upload, its `path` added."""
        named = {f"part-{number:05}.parquet": data for number, data in enumerate(files or (parquet(),))}
        upload = await self.announce(named, dataset, version, entity)
        for answer in await self.put(upload, named):
            assert answer.is_success, answer.text
        return dict(upload)

    async def ingest(self, dataset: str = "source", *files: bytes, version: str = VERSION, entity: str = ENTITY) -> dict[str, Any]:
        """A sealed dataset."""
        upload = await self.begin_upload(dataset, *files, version=version, entity=entity)
        return dict(await self.ok("POST", f"{upload['path']}/seal"))

    async def run(self, number: int = 0, **fields: Any) -> httpx.Response:
        """POST a `filter` process."""
        body = {"entity_id": ENTITY, "data_version": VERSION, "action": "filter", "parameters": condition(number), **fields}
        return await self.post("/v1/processes", body)

    async def accepted(self, number: int = 0, **fields: Any) -> dict[str, Any]:
        """A new process, its result named by `number` so that several do not meet."""
        answer = await self.run(number, **{"output_dataset": f"filtered-{number}", **fields})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def process(self, process_id: str) -> dict[str, Any]:
        return dict(await self.ok("GET", f"/v1/processes/{process_id}"))

    async def events(self, process_id: str) -> list[dict[str, Any]]:
        """The whole history; numbered from 1 without gaps, or it fails."""
        items: list[dict[str, Any]] = (await self.ok("GET", f"/v1/processes/{process_id}/events"))["items"]
        assert [item["sequence"] for item in items] == list(range(1, len(items) + 1))
        return items

    async def history(self, process_id: str) -> list[str]:
        """The types of the events."""
        return [event["type"] for event in await self.events(process_id)]

    async def until(self, process_id: str, state: str, seconds: float = 20, pause: float = PAUSE) -> dict[str, Any]:
        """The process, once it is in `state`; looks at it every `pause` seconds."""

        async def look() -> dict[str, Any] | None:
            process = await self.process(process_id)
            finals = {"succeeded", "failed", "cancelled"}
            assert process["state"] == state or process["state"] not in finals, f"{process['state']}: {process['reason']}"
            return process if process["state"] == state else None

        return await eventually(look, seconds, f"state {state}", pause)  # type: ignore[return-value]

    async def until_event(self, process_id: str, kind: str, seconds: float = 20) -> list[str]:
        """The types of the events, once `kind` is among them."""

        async def look() -> list[str] | None:
            types = await self.history(process_id)
            return types if kind in types else None

        return await eventually(look, seconds, f"event {kind}")  # type: ignore[return-value]
