"""An upload ends once: whoever gives it up asks the store first whether its manifest is there."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from contracts.manifest import Manifest
from control_plane import seal, uploaded
from control_plane.errors import StorageUnavailable, UploadRefused
from control_plane.rebuild.rebuild import rebuild
from control_plane.seal import Sealable
from control_plane.storage import Storage
from control_plane.sweeper.ended import expire_uploads
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import Tally
from tests.control_plane.caller import ENTITY, VERSION, Caller, parquet
from tests.control_plane.installation import Installation
from tests.control_plane.quiet import leftover_settings, sweeper

SOURCE = f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source"


@dataclass
class Left:
    """An upload that was marked to be sealed, and of whose seal nothing more was heard."""

    installation: Installation
    caller: Caller
    sql: asyncpg.Connection
    upload: dict[str, Any]

    async def a_while_later(self) -> None:
        """No PUT that was under way can be so any more."""
        await self.sql.execute("UPDATE uploads SET manifest_put_at = manifest_put_at - interval '1 hour'")

    async def expire(self, installation: Installation | None = None) -> Tally:
        """Its time is over, and a sweeper comes by."""
        await self.sql.execute("UPDATE uploads SET expires_at = clock_timestamp() - interval '1 second' WHERE state = 'open'")
        usual, tally = sweeper(Sweeper, installation or self.installation), Tally(remove=True)
        await expire_uploads(usual, tally)
        await usual.database.close()
        return tally

    async def give_up(self) -> int:
        return (await self.caller.request("DELETE", self.upload["path"])).status_code

    async def state(self) -> tuple[str, int, int]:
        """Of the upload; how many claims there are; how the API answers for the dataset."""
        state = await self.sql.fetchval("SELECT state FROM uploads")
        return state, await self.sql.fetchval("SELECT count(*) FROM claims"), (await self.caller.get(SOURCE)).status_code


@contextmanager
def _dies(monkeypatch: pytest.MonkeyPatch, *, after: bool) -> Iterator[None]:
    """Whoever seals an upload ends at its PUT, after it or before it."""
    working = seal.put_manifest

    def put(storage: Storage, new: Sealable, until: float) -> tuple[Manifest, str]:
        if after:
            working(storage, new, until)
        raise StorageUnavailable("nothing was heard of it")

    with monkeypatch.context() as patched:
        patched.setattr(seal, "put_manifest", put)
        yield


@pytest_asyncio.fixture(loop_scope="session")
async def left(request: pytest.FixtureRequest, still: Installation, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Left]:
    """With its manifest, unless the test's parameter says otherwise."""
    async with still.api() as client, still.sql() as sql:
        caller = await still.tenant(client)
        upload = await caller.begin_upload()
        with _dies(monkeypatch, after=getattr(request, "param", True)):
            assert (await caller.post(f"{upload['path']}/seal")).status_code == 503
        yield Left(still, caller, sql, upload)


async def test_one_whose_manifest_is_there_is_sealed_when_its_time_is_over(left: Left) -> None:
    await left.a_while_later()
    await left.expire()
    assert await left.state() == ("sealed", 0, 200)
    assert (await left.caller.post(f"{left.upload['path']}/seal")).status_code == 200
    assert (await rebuild(leftover_settings(left.installation), None, dry_run=False)).conflicts == {}


async def test_one_whose_manifest_is_there_is_sealed_when_it_is_given_up(left: Left) -> None:
    await left.a_while_later()
    assert await left.give_up() == 409
    assert await left.state() == ("sealed", 0, 200)


@pytest.mark.parametrize("left", [False], indirect=True)
@pytest.mark.parametrize("by", ["expire", "give_up"])
async def test_one_whose_manifest_is_not_there_is_closed(by: str, left: Left) -> None:
    await left.a_while_later()
    await getattr(left, by)()
    assert await left.state() == ("expired", 0, 404)
    assert (await left.caller.ingest("source", parquet()))["rows"] == 4


@pytest.mark.parametrize("left", [False, True], indirect=True)
async def test_while_the_manifest_may_be_put_it_stays(left: Left) -> None:
    assert await left.give_up() == 409
    await left.expire()
    assert await left.state() == ("open", 1, 404)
    assert (await left.caller.post(f"{left.upload['path']}/seal")).status_code == 200, "the next try goes on with it, however late"


async def test_while_the_store_does_not_answer_it_stays(left: Left) -> None:
    await left.a_while_later()
    cut_off = left.installation.but(s3_endpoint="http://127.0.0.1:9")
    other = await left.caller.begin_upload("other")
    tally = await left.expire(cut_off)
    assert list(tally.unreachable) == [left.caller.tenant]
    states = {row["dataset"]: row["state"] for row in await left.sql.fetch("SELECT dataset, state FROM uploads")}
    assert states == {"source": "open", "other": "expired"}, "what was never marked needs no store"
    assert (await left.caller.post(f"{other['path']}/seal")).status_code == 409
    await left.expire()
    assert (await left.caller.get(SOURCE)).status_code == 200


async def test_a_try_that_is_begun_after_the_look_at_the_store_keeps_it_open(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    await left.a_while_later()
    loop = asyncio.get_running_loop()

    def too_early(*_: Any) -> None:
        begun = left.sql.execute("UPDATE uploads SET manifest_put_at = clock_timestamp()")
        asyncio.run_coroutine_threadsafe(begun, loop).result()

    with monkeypatch.context() as patched:
        patched.setattr(seal, "find_manifest", too_early)
        assert await left.give_up() == 409
    assert await left.state() == ("open", 1, 404)
    assert (await left.caller.post(f"{left.upload['path']}/seal")).status_code == 200


@pytest.mark.parametrize("left", [False, True], indirect=True)
async def test_a_try_that_finds_it_wrong_does_not_close_what_another_may_be_sealing(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise UploadRefused("part-00000.parquet vanished while it was read.")

    with monkeypatch.context() as patched:
        patched.setattr(uploaded, "checked", refused)
        assert (await left.caller.post(f"{left.upload['path']}/seal")).status_code == 422
    assert await left.state() == ("open", 1, 404)
    assert (await left.caller.post(f"{left.upload['path']}/seal")).status_code == 200


@pytest.mark.parametrize(
    ("left", "answer", "state"), [(True, 200, ("sealed", 0, 200)), (False, 422, ("expired", 0, 404))], indirect=["left"]
)
async def test_a_try_that_finds_it_wrong_later_asks_the_store(
    left: Left, answer: int, state: tuple[str, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    await left.a_while_later()

    def refused(*_: Any) -> None:
        raise UploadRefused("part-00000.parquet vanished while it was read.")

    monkeypatch.setattr(uploaded, "checked", refused)
    assert (await left.caller.post(f"{left.upload['path']}/seal")).status_code == answer
    assert await left.state() == state
