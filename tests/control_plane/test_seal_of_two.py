"""A run that keeps its refused rows makes two datasets; its process has both or none, wherever its sealer dies."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from contracts.identifiers import new_id
from contracts.layout import DatasetPath
from contracts.manifest import Manifest
from control_plane import seal
from control_plane.seal import Sealable
from control_plane.storage import Storage
from tests.chaos.ledger import Ledger
from tests.chaos.oracle import Evidence, violations
from tests.control_plane.caller import ENTITY, TABLE, VERSION
from tests.control_plane.direct import Direct, directly
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation

BODY = {"entity_id": ENTITY, "data_version": VERSION, "action": "aggregate_revenue", "parameters": {"on_invalid": "reject"}}
BOTH = ["revenue", "revenue_rejected"]


@dataclass
class Two:
    """A run that left two datasets and has reported its last; nobody seals them but the test."""

    direct: Direct
    driver: Driver
    rejected: DatasetPath

    async def process(self) -> dict[str, Any]:
        return await self.direct.caller.process(str(self.driver.command.process_id))

    async def seal(self) -> dict[str, Any]:
        """The process, after the next try."""
        await self.direct.sql("UPDATE attempts SET seal_lease_until = NULL WHERE state = 'sealing'")
        await self.direct.seal()
        return await self.process()

    async def a_while_later(self) -> None:
        """No PUT that was under way can be so any more."""
        await self.direct.sql("UPDATE attempts SET manifest_put_at = manifest_put_at - interval '1 hour'")

    def manifests(self) -> list[str]:
        """The datasets of the run that are sealed by the store."""
        found = []
        for path in (self.driver.path, self.rejected):
            if seal.find_manifest(self.direct.reconciler.storage, path, self.driver.command.process_id, self.driver.run_id):
                found.append(path.dataset)
        return found

    async def registered(self) -> list[str]:
        rows = await self.direct.sql("SELECT dataset FROM datasets WHERE process_id = $1 ORDER BY dataset", self.driver.command.process_id)
        return [row["dataset"] for row in rows]

    async def violations(self) -> list[str]:
        """What the judge of all chaos says."""
        async with self.direct.installation.sql() as sql:
            evidence = Evidence(sql, self.direct.installation.s3, [], Ledger())
            return await violations(evidence, [str(self.driver.command.process_id)])


@pytest_asyncio.fixture(loop_scope="session")
async def two(still: Installation) -> AsyncIterator[Two]:
    async with directly(still) as direct:
        accepted = await direct.caller.post("/v1/processes", {**BODY, "output_dataset": "revenue"})
        assert accepted.status_code == 202, accepted.text
        command = await direct.next_command()
        await direct.say("submitted", command)
        driver = await direct.driver(command).started()
        assert command.rejected_output is not None
        rejected = driver.root.dataset(ENTITY, VERSION, "revenue_rejected")
        main = driver.proposed(await driver.write())
        refused = driver.proposed(await driver.write(TABLE.slice(3), path=rejected), output=command.rejected_output)
        answer = await driver.finished(await driver.propose(driver.proposal(main, refused)))
        assert answer.json()["state"] == "sealing"
        await direct.publish()
        yield Two(direct, driver, rejected)


def _dies_at(monkeypatch: pytest.MonkeyPatch, number: int, *, after: bool = False) -> None:
    """The sealer dies at its PUT of that number, before it or after it."""
    working, begun = seal.put_manifest, []

    def put(storage: Storage, new: Sealable, until: float) -> tuple[Manifest, str]:
        begun.append(new)
        if len(begun) == number and not after:
            raise RuntimeError("the sealer dies")
        sealed = working(storage, new, until)
        if len(begun) == number:
            raise RuntimeError("the sealer dies")
        return sealed

    monkeypatch.setattr(seal, "put_manifest", put)


async def _foreign_manifest(two: Two, path: DatasetPath) -> None:
    """Somebody else's manifest, of which the database knows nothing."""
    source = (await two.direct.sql("SELECT manifest FROM datasets WHERE dataset = 'source'"))[0]["manifest"]
    document = {**source, "dataset": path.dataset, "run_id": str(new_id()), "process_id": str(new_id()), "step": 0, "attempt": 1}
    await two.driver.put(path.manifest_key, Manifest.model_validate(document).to_bytes())


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
async def test_what_is_added_when_the_sealer_is_dead_changes_nothing(
    number: int, after: bool, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        _dies_at(patched, number, after=after)
        assert (await two.seal())["state"] == "sealing"
    for path in (two.driver.path, two.rejected):
        await two.driver.write(name="part-00009.zstd.parquet", path=path)
    done = await two.seal()
    assert (done["state"], [(each["dataset"], each["rows"]) for each in done["artifacts"]]) == (
        "succeeded",
        [("revenue", 4), ("revenue_rejected", 1)],
    ), done["reason"]
    assert two.manifests() == await two.registered() == BOTH


@pytest.mark.parametrize("taken", BOTH)
async def test_a_name_that_is_taken_in_the_store_alone_leaves_no_manifest_of_the_run(taken: str, two: Two) -> None:
    await _foreign_manifest(two, two.driver.path if taken == "revenue" else two.rejected)
    failed = await two.seal()
    assert (failed["state"], f"/{taken}/_manifest.json was sealed by run" in failed["reason"]) == ("failed", True), failed["reason"]
    assert two.manifests() == await two.registered() == []
    assert await two.violations() == []


async def test_a_proposal_that_is_gone_between_the_two_does_not_fail_what_is_sealed(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        _dies_at(patched, 2)
        await two.seal()
    await two.driver.propose(b"{}")
    done = await two.seal()
    assert (done["state"], two.manifests(), await two.registered()) == ("succeeded", ["revenue"], ["revenue"])
    assert await two.violations() == []


async def test_what_may_be_put_right_now_is_not_refused(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sealer has begun, and nobody knows how far it came; then the proposal is gone."""
    with monkeypatch.context() as patched:
        _dies_at(patched, 1)
        await two.seal()
    await two.driver.propose(b"{}")
    waiting = await two.seal()
    assert waiting["state"] == "sealing", waiting["reason"]
    assert "may be under way" in waiting["reason"]
    await two.a_while_later()
    failed = await two.seal()
    assert (failed["state"], failed["attempts"][0]["error_class"]) == ("failed", "PROPOSAL_REJECTED")
    assert two.manifests() == []


async def test_the_proposal_that_was_judged_is_the_one_that_is_sealed(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """No report named it by its hash: the end of the job spoke for the run."""
    await two.direct.sql("UPDATE attempts SET proposal_sha256 = NULL")
    with monkeypatch.context() as patched:
        _dies_at(patched, 2)
        await two.seal()
    other = await two.driver.write(name="part-00009.zstd.parquet", path=two.rejected)
    refused = two.driver.proposed(other, output=two.driver.command.rejected_output)
    await two.driver.propose(two.driver.proposal(two.driver.proposed(await two.driver.write()), refused))
    await two.seal()
    assert two.manifests() == ["revenue"], "the other proposal was never judged"


@pytest.mark.parametrize("orphan", BOTH)
async def test_the_judge_condemns_a_failure_with_a_manifest_of_its_own(orphan: str, two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        _dies_at(patched, 2, after=True)
        await two.seal()
    other = two.rejected if orphan == "revenue" else two.driver.path
    two.driver.store.delete_object(Bucket=other.root.bucket, Key=other.manifest_key)
    await two.direct.sql("UPDATE attempts SET state = 'failed', rank = 60, ended_at = clock_timestamp()")
    await two.direct.sql("UPDATE processes SET state = 'failed', ended_at = clock_timestamp(), last_event = last_event + 1")
    await two.direct.sql(
        "INSERT INTO events (process_id, sequence, tenant, type, data) SELECT id, last_event, tenant, 'failed', '{}' FROM processes"
    )
    await two.direct.sql("DELETE FROM claims")
    (said,) = await two.violations()
    assert said.endswith("it is not a success and a manifest is its own")


async def test_the_judge_condemns_a_success_whose_second_dataset_is_not_registered(two: Two) -> None:
    assert (await two.seal())["state"] == "succeeded"
    assert await two.violations() == []
    await two.direct.sql("DELETE FROM datasets WHERE dataset = 'revenue_rejected'")
    (said,) = await two.violations()
    assert "revenue_rejected" in said
