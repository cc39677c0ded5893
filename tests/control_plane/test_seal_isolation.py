"""One attempt that cannot be sealed, for whatever reason, ends neither the role nor the seals of others."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from contracts.manifest import Manifest
from contracts.reading import Bounds
from control_plane import reconcile, seal
from control_plane.reconciler import Reconciler
from tests.control_plane.direct import Direct, directly
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation


@dataclass
class Two:
    """Two granted runs: the older one's seal will meet trouble, and nothing is the matter with the other's."""

    direct: Direct
    troubled: Driver
    other: Driver

    async def complete(self, proposal: bytes | None = None) -> None:
        """Both report their last, the troubled one first."""
        made = await self.troubled.make()
        reference = made if proposal is None else await self.troubled.propose(proposal)
        assert (await self.troubled.finished(reference)).status_code == 200
        assert (await self.other.finished(await self.other.make())).status_code == 200

    async def seal(self) -> None:
        """Until nothing is left to seal at once."""
        while await self.direct.seal():
            pass

    async def process(self, driver: Driver) -> dict[str, Any]:
        return await self.direct.caller.process(str(driver.command.process_id))

    async def is_refused(self, *words: str) -> None:
        """The troubled one failed for a reason that has these words, and the other is sealed."""
        ended = await self.process(self.troubled)
        assert (ended["state"], ended["attempts"][0]["error_class"]) == ("failed", "PROPOSAL_REJECTED"), ended["reason"]
        assert [word for word in words if word not in ended["reason"]] == []
        assert self.troubled.manifest() is None
        assert (await self.process(self.other))["state"] == "succeeded"


@pytest_asyncio.fixture(loop_scope="session")
async def two(still: Installation) -> AsyncIterator[Two]:
    async with directly(still) as direct:
        drivers = [await direct.driver(await direct.command(number)).started() for number in (1, 2)]
        yield Two(direct, *drivers)


def _with_bound(driver: Driver, bound: str) -> bytes:
    (file,) = [key for key in driver.listing() if key.endswith(".parquet")]
    found = driver.store.head_object(Bucket=driver.root.bucket, Key=file)
    usual = {"key": file, "size": found["ContentLength"], "rows": 4, "etag": found["ETag"].strip('"')}
    dataset = {**driver.proposed().model_dump(mode="json"), "files": [usual], "rows": 4, "bytes": usual["size"]}
    dataset["column_statistics"] = {"delay": {"min": 1, "max": "BOUND", "nulls": 0}}
    document = {**driver.proposal(driver.proposed()).model_dump(mode="json"), "datasets": [dataset]}
    return json.dumps(document).replace('"BOUND"', bound).encode()


@pytest.mark.parametrize("bound", ["1e999", "-1e999", "NaN", "Infinity"])
async def test_a_bound_that_is_no_finite_number(bound: str, two: Two) -> None:
    await two.troubled.write()
    await two.complete(_with_bound(two.troubled, bound))
    await two.seal()
    await two.is_refused("the proposal is not readable")


async def test_the_largest_bounds_are_sealed(two: Two) -> None:
    await two.troubled.write()
    await two.complete(_with_bound(two.troubled, "1.7976931348623157e308"))
    await two.seal()
    assert (await two.process(two.troubled))["state"] == "succeeded"
    assert Manifest.model_validate_json(two.troubled.manifest() or b"").column_statistics["delay"].max == 1.7976931348623157e308


async def test_a_manifest_that_cannot_be_written(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    await two.complete()
    written = Manifest.to_bytes

    def defect(manifest: Manifest) -> bytes:
        if manifest.run_id == two.troubled.run_id:
            raise ValueError("Out of range float values are not JSON compliant")
        return written(manifest)

    monkeypatch.setattr(Manifest, "to_bytes", defect)
    await two.seal()
    await two.is_refused("ValueError")


async def test_a_manifest_that_would_be_too_large_to_be_read_again(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "DOCUMENT", Bounds(most_bytes=2000, most_values=2000))
    usual = json.loads(await _proposal_of(two.troubled))
    usual["datasets"][0]["quality"] = {"notes": "x" * 2000}
    await two.complete(json.dumps(usual).encode())
    await two.seal()
    await two.is_refused("nobody could read its manifest", "at most 2000", "fewer files")


async def _proposal_of(driver: Driver) -> bytes:
    await driver.make()
    body = driver.store.get_object(Bucket=driver.root.bucket, Key=driver.path.proposal_key(driver.run_id))["Body"]
    return bytes(await asyncio.to_thread(body.read))


@pytest.mark.parametrize("where", ["put_manifest", "registration"])
async def test_a_defect_when_a_manifest_may_be_there_is_waited_out(where: str, two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell whether the dataset is sealed: the attempt is kept, tried again at growing distances, and said to be so."""
    await two.complete()
    working = getattr(seal, where)

    def defect(*arguments: Any) -> Any:
        if any(two.troubled.run_id in repr(argument) for argument in arguments):
            raise RuntimeError("a defect")
        return working(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(seal, where, defect)
        await two.seal()
        kept = await two.process(two.troubled)
        assert (kept["state"], "RuntimeError" in kept["reason"]) == ("sealing", True), kept["reason"]
        assert (await two.process(two.other))["state"] == "succeeded"
        await two.direct.sql("UPDATE attempts SET sealing_at = sealing_at - interval '2 minutes', seal_lease_until = NULL")
        await two.seal()
    [row] = await two.direct.sql(
        "SELECT seal_lease_until - clock_timestamp() > interval '100 seconds' AS later FROM attempts WHERE state = 'sealing'"
    )
    assert row["later"], "it is tried less and less often"
    await two.direct.sql("UPDATE attempts SET seal_lease_until = NULL")
    await two.seal()
    assert (await two.process(two.troubled))["state"] == "succeeded"


async def test_a_defect_of_one_kind_of_work_does_not_end_it(still: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "_DEFECT_REST_SECONDS", 0)
    stop, done = asyncio.Event(), []

    async def work(_: Reconciler) -> bool:
        done.append(len(done))
        if len(done) == 3:
            stop.set()
            return False
        raise ValueError("a defect")

    async with still.reconciler() as reconciler:
        await asyncio.wait_for(reconcile._repeat(reconciler, stop, 0.01, work, "seal"), 10)
    assert done == [0, 1, 2]
