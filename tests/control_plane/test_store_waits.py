"""The object store keeps a seal, or a retirement, waiting. Nobody else waits with it, and what happens meanwhile is not lost on it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from contracts.layout import StorageRoot
from control_plane.sweeper.ended import expire_uploads
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import Tally
from tests.chaos.network import Network
from tests.chaos.table import MANIFEST
from tests.chaos.traps import Trap
from tests.chaos.wire import Wire
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.installation import Installation
from tests.control_plane.quiet import sweeper
from tests.control_plane.waiting import eventually

pytestmark = pytest.mark.security
SOURCE = f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source"
DATA = rb"GET /[^ ]+part-00000\.parquet"
TOMBSTONE = rb"_retired\.json"
MORE_THAN_CONNECTIONS = 12


@dataclass(frozen=True)
class Far:
    """A tenant of an installation whose store is at the end of a wire."""

    installation: Installation
    caller: Caller
    wire: Wire

    def manifest_is_there(self) -> bool:
        path = StorageRoot.parse(self.caller.root).dataset(ENTITY, VERSION, "source")
        return any(item.key == path.manifest_key for item in self.installation.storage.list(path.root.bucket, path.prefix))


@pytest_asyncio.fixture(loop_scope="session")
async def far(still: Installation) -> AsyncIterator[Far]:
    with Network.running() as network:
        wire = network.wire("s3", still.s3_endpoint)
        async with still.but(s3_endpoint=f"http://{wire.address}").api() as client:
            yield Far(still, await still.tenant(client), wire)


@contextmanager
def held(wire: Wire, pattern: bytes) -> Iterator[tuple[Trap, threading.Event]]:
    """Requests to the store that match wait until the event is set."""
    go = threading.Event()
    try:
        yield wire.trap(pattern, then=lambda: go.wait(60) and None), go  # type: ignore[func-returns-value]
    finally:
        go.set()


@asynccontextmanager
async def sealing(far: Far, upload: dict[str, str], pattern: bytes) -> AsyncIterator["asyncio.Task[httpx.Response]"]:
    """A seal that has come to this request to the store, and goes on after the block."""
    with held(far.wire, pattern) as (trap, _):
        task = asyncio.create_task(far.caller.post(f"{upload['path']}/seal"))
        await eventually(lambda: _is(trap.taken > 0), 30, "the request to the store")
        yield task


async def _is(truth: bool) -> bool:
    return truth


@pytest.mark.parametrize("what", ["seal", "retire"])
async def test_others_are_answered_while_the_store_is_frozen(what: str, far: Far) -> None:
    caller = far.caller
    paths = []
    for number in range(MORE_THAN_CONNECTIONS):
        upload = await caller.begin_upload(entity=f"e-{number}")
        if what == "retire":
            await caller.ok("POST", f"{upload['path']}/seal")
        paths.append(f"{upload['path']}/seal" if what == "seal" else f"{urlsplit(upload['path']).path.partition('/uploads/')[0]}/retire")
    far.wire.black_hole()
    body = {"reason": "asked for"} if what == "retire" else None
    tasks = [asyncio.create_task(caller.post(path, body)) for path in paths]
    await eventually(lambda: _is(far.wire.counters.swallowed > 0), 30, "a request that the store does not answer")
    others = [await caller.get("/v1/processes") for _ in range(20)]
    assert not any(task.done() for task in tasks), "they wait all the while"
    assert {other.status_code for other in others} == {200}
    far.wire.heal()
    answers = await asyncio.gather(*tasks)
    assert {answer.status_code for answer in answers} <= {200, 503}, "what the store did not answer may be asked for again"
    assert {(await caller.post(path, body)).status_code for path in paths} == {200}


async def test_two_seals_at_once_are_one(far: Far) -> None:
    upload = await far.caller.begin_upload()
    async with sealing(far, upload, DATA) as first:
        second = await far.caller.post(f"{upload['path']}/seal")
    answers = [await first, second]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["manifest_sha256"] == answers[1].json()["manifest_sha256"]


async def test_given_up_while_its_files_are_read(far: Far) -> None:
    upload = await far.caller.begin_upload()
    async with sealing(far, upload, DATA) as seal:
        assert (await far.caller.request("DELETE", upload["path"])).status_code == 204
    assert (await seal).status_code == 409
    assert not far.manifest_is_there()
    assert (await far.caller.ingest())["rows"] == 4


async def test_not_given_up_while_its_manifest_is_put(far: Far) -> None:
    upload = await far.caller.begin_upload()
    async with sealing(far, upload, MANIFEST) as seal:
        refused = await far.caller.request("DELETE", upload["path"])
        assert (refused.status_code, "being sealed" in refused.json()["detail"]) == (409, True)
    assert (await seal).status_code == 200
    assert (await far.caller.get(SOURCE)).status_code == 200


async def test_one_that_is_being_sealed_does_not_expire(far: Far) -> None:
    upload = await far.caller.begin_upload()
    usual = sweeper(Sweeper, far.installation)
    async with far.installation.sql() as sql:
        await sql.execute("UPDATE uploads SET expires_at = clock_timestamp() + interval '10 seconds'")
        async with sealing(far, upload, DATA) as seal:
            left = await sql.fetchval("SELECT expires_at > clock_timestamp() + interval '30 minutes' FROM uploads")
            assert left, "its time is long enough for the rest"
            await expire_uploads(usual, Tally(remove=True))
    assert (await seal).status_code == 200
    await usual.database.close()


async def test_one_that_is_begun_anew_is_not_closed_by_an_older_look(far: Far) -> None:
    """The sweeper has found it expired, and waits for whoever holds it: that one gave it more time."""
    await far.caller.begin_upload()
    usual = sweeper(Sweeper, far.installation)
    async with far.installation.sql() as sql, far.installation.sql() as other:
        await sql.execute("UPDATE uploads SET expires_at = clock_timestamp() - interval '1 second'")
        async with other.transaction():
            await other.execute("UPDATE uploads SET expires_at = clock_timestamp() + interval '1 hour'")
            expiring = asyncio.create_task(expire_uploads(usual, Tally(remove=True)))
            waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            await eventually(lambda: sql.fetchval(waits), 30, "the sweeper's wait")
        await expiring
        assert await sql.fetchval("SELECT state FROM uploads") == "open"
    await usual.database.close()


async def test_one_whose_end_was_lost_is_sealed_by_the_next_try(far: Far) -> None:
    """The manifest was put, and the service ended before it told the database."""
    upload = await far.caller.begin_upload()
    first = await far.caller.ok("POST", f"{upload['path']}/seal")
    async with far.installation.sql() as sql:
        await sql.execute("DELETE FROM datasets")
        await sql.execute("UPDATE uploads SET state = 'open'")
        await sql.execute(
            """INSERT INTO claims (tenant, entity_id, data_version, dataset, upload_id)
            SELECT tenant, entity_id, data_version, dataset, id FROM uploads"""
        )
    again = await far.caller.ok("POST", f"{upload['path']}/seal")
    assert again["manifest_sha256"] == first["manifest_sha256"]


async def test_nothing_reads_what_is_being_retired(far: Far) -> None:
    await far.caller.ingest()
    with held(far.wire, rb"PUT /[^ ]+" + TOMBSTONE) as (trap, _):
        retiring = asyncio.create_task(far.caller.post(f"{SOURCE}/retire", {"reason": "asked for"}))
        await eventually(lambda: _is(trap.taken > 0), 30, "the tombstone")
        assert (await far.caller.run()).status_code == 410
    assert (await retiring).status_code == 200


async def test_a_tombstone_that_the_store_did_not_take_is_put_by_the_next_try(far: Far) -> None:
    await far.caller.ingest()
    far.wire.trap(rb"PUT /[^ ]+" + TOMBSTONE, "cut", times=20)
    assert (await far.caller.post(f"{SOURCE}/retire", {"reason": "asked for"})).status_code == 503
    far.wire.heal()
    assert (await far.caller.post(f"{SOURCE}/retire", {"reason": "another"})).json()["reason"] == "asked for"
    path = StorageRoot.parse(far.caller.root).dataset(ENTITY, VERSION, "source")
    assert b"asked for" in far.installation.storage.get(path.root.bucket, path.tombstone_key)
