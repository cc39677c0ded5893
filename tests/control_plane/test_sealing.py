"""Only what a granted run proposed, and what lies there exactly so, becomes a dataset: once."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from contracts.command import DatasetName
from contracts.identifiers import new_id
from contracts.manifest import Manifest
from contracts.proposal import Proposal
from control_plane import lifecycle, proposals, seal
from control_plane.errors import StorageUnavailable
from control_plane.reconciler import Reconciler
from control_plane.sealing import seal_next
from tests.control_plane.caller import ENTITY, TABLE, VERSION, Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import Launcher, following
from tests.control_plane.steps import Steps
from tests.control_plane.waiting import eventually

Breach = Callable[[Driver], Awaitable[Proposal | bytes]]


async def _extra_file(driver: Driver) -> Proposal:
    file = await driver.write()
    await driver.write(name="part-00001.zstd.parquet")
    return driver.proposal(driver.proposed(file))


async def _missing_file(driver: Driver) -> Proposal:
    file = await driver.write()
    ghost = file.model_copy(update={"key": file.key.replace("part-00000", "part-00001")})
    return driver.proposal(driver.proposed(file, ghost))


async def _changed_size(driver: Driver) -> Proposal:
    file = await driver.write()
    await driver.write(TABLE.slice(1))
    return driver.proposal(driver.proposed(file))


async def _changed_etag(driver: Driver) -> Proposal:
    file = await driver.write()
    return driver.proposal(driver.proposed(file.model_copy(update={"etag": "0" * 32})))


async def _file_twice(driver: Driver) -> Proposal:
    file = await driver.write()
    return driver.proposal(driver.proposed(file, file))


async def _foreign_file(driver: Driver) -> Proposal:
    file = await driver.write()
    key = driver.path.run_prefix("another-run") + "part-00000.zstd.parquet"
    await driver.put(key, b"")
    return driver.proposal(driver.proposed(file, file.model_copy(update={"key": key})))


async def _other_run(driver: Driver) -> Proposal:
    return driver.proposal(driver.proposed(await driver.write()), run_id="another-run")


async def _other_attempt(driver: Driver) -> Proposal:
    ref = {**driver.command.model_dump(include={"tenant", "process_id", "step", "attempt"}), "attempt": 2}
    return driver.proposal(driver.proposed(await driver.write()), made_by=ref)


async def _other_process(driver: Driver) -> Proposal:
    ref = {**driver.command.model_dump(include={"tenant", "process_id", "step", "attempt"}), "process_id": new_id()}
    return driver.proposal(driver.proposed(await driver.write()), made_by=ref)


async def _other_entity(driver: Driver) -> Proposal:
    return driver.proposal(driver.proposed(await driver.write()), entity_id="somebody_else")


async def _other_dataset(driver: Driver) -> Proposal:
    return driver.proposal(driver.proposed(await driver.write(), output=DatasetName(data_version=VERSION, dataset="source")))


async def _other_version(driver: Driver) -> Proposal:
    output = DatasetName(data_version="v1", dataset=driver.command.output.dataset)
    return driver.proposal(driver.proposed(await driver.write(), output=output))


async def _ungranted_second(driver: Driver) -> Proposal:
    file = await driver.write()
    other = DatasetName(data_version=VERSION, dataset="bonus")
    return driver.proposal(driver.proposed(file), driver.proposed(file, output=other))


async def _wrong_rows(driver: Driver) -> Proposal:
    return driver.proposal(driver.proposed(await driver.write(), rows=5))


async def _wrong_bytes(driver: Driver) -> Proposal:
    return driver.proposal(driver.proposed(await driver.write(), bytes=1))


async def _wrong_fingerprint(driver: Driver) -> Proposal:
    return driver.proposal(driver.proposed(await driver.write(), schema_fingerprint=f"sha256:{'0' * 64}"))


async def _not_json(driver: Driver) -> bytes:
    await driver.write()
    return b"\xff not JSON"


async def _not_a_proposal(driver: Driver) -> bytes:
    await driver.write()
    return b'{"contract_version": 2}'


BREACHES: dict[str, tuple[Breach, str]] = {
    "a file that is not named": (_extra_file, "not named ["),
    "a file that is not there": (_missing_file, "missing ["),
    "a file of another size": (_changed_size, "was changed after it was proposed"),
    "a file of another etag": (_changed_etag, "was changed after it was proposed"),
    "a file named twice": (_file_twice, "names a file twice"),
    "a file of another run": (_foreign_file, "missing ["),
    "another run": (_other_run, "made by another run"),
    "another attempt": (_other_attempt, "made by another run"),
    "another process": (_other_process, "made by another run"),
    "another entity": (_other_entity, "made by another run"),
    "another dataset": (_other_dataset, "it was granted"),
    "another version": (_other_version, "it was granted"),
    "one dataset more": (_ungranted_second, "it was granted"),
    "a wrong number of rows": (_wrong_rows, "sums of rows and bytes"),
    "a wrong number of bytes": (_wrong_bytes, "sums of rows and bytes"),
    "a wrong schema fingerprint": (_wrong_fingerprint, "schema fingerprint"),
    "no JSON": (_not_json, "not readable"),
    "no proposal": (_not_a_proposal, "not readable"),
}


@pytest.mark.parametrize("name", BREACHES)
async def test_what_does_not_hold_is_refused_and_nothing_is_sealed(name: str, steps: Steps, acme: Caller) -> None:
    breach, words = BREACHES[name]
    driver = await steps.driver(await steps.queued()).started()
    assert (await driver.finished(await driver.propose(await breach(driver)))).status_code == 200
    failed = await acme.until(str(driver.command.process_id), "failed")
    assert failed["reason"].startswith("the result was refused: ")
    assert words in failed["reason"]
    assert (failed["artifacts"], failed["attempts"][0]["state"]) == ([], "failed")
    assert await acme.history(failed["id"]) == ["accepted", "queued", "running", "sealing", "failed"]
    assert (await acme.events(failed["id"]))[-1]["data"]["error_class"] == "PROPOSAL_REJECTED"
    assert driver.manifest() is None
    assert (await acme.get(f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/filtered-1")).status_code == 404
    assert (await acme.run(2, output_dataset="filtered-1")).status_code == 202, "the name is free again"


async def test_a_proposal_that_is_not_the_reported_one(steps: Steps, acme: Caller) -> None:
    driver = await steps.driver(await steps.queued()).started()
    reference = await driver.make()
    await driver.finished({**reference, "sha256": f"sha256:{hashlib.sha256(b'other').hexdigest()}"})
    failed = await acme.until(str(driver.command.process_id), "failed")
    assert failed["reason"] == "the result was refused: the proposal is not the one that the run reported"


async def test_a_proposal_that_is_not_there(steps: Steps, acme: Caller) -> None:
    driver = await steps.driver(await steps.queued()).started()
    await driver.finished({"key": driver.path.proposal_key(driver.run_id), "sha256": f"sha256:{'0' * 64}"})
    failed = await acme.until(str(driver.command.process_id), "failed")
    assert "there is no proposal at" in failed["reason"]


async def test_a_proposal_outside_of_the_runs_folder_is_refused_at_once(steps: Steps, acme: Caller) -> None:
    driver = await steps.driver(await steps.queued()).started()
    reference = await driver.make()
    refused = await driver.finished({**reference, "key": driver.path.proposal_key("another-run")})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/proposal/key")
    assert (await driver.finished(reference)).status_code == 200
    await acme.until(str(driver.command.process_id), "succeeded")


async def test_markers_are_no_files(steps: Steps, acme: Caller) -> None:
    driver = await steps.driver(await steps.queued()).started()
    await driver.put(driver.path.run_prefix(driver.run_id) + "_SUCCESS", b"{}")
    await driver.finished(await driver.make())
    assert (await acme.until(str(driver.command.process_id), "succeeded"))["artifacts"][0]["rows"] == 4


async def test_refused_rows_are_a_dataset_of_their_own(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    body = {"entity_id": ENTITY, "data_version": VERSION, "action": "aggregate_revenue", "parameters": {"on_invalid": "reject"}}
    accepted = (await acme.post("/v1/processes", {**body, "output_dataset": "revenue"})).json()
    driver = await steps.driver(await launcher.command(accepted["id"])).started()
    assert driver.command.rejected_output is not None
    rejected_path = driver.root.dataset(ENTITY, VERSION, "revenue_rejected")
    main = driver.proposed(await driver.write())
    rejected = driver.proposed(await driver.write(TABLE.slice(3), path=rejected_path), output=driver.command.rejected_output)
    await driver.finished(await driver.propose(driver.proposal(rejected, main)))
    done = await acme.until(accepted["id"], "succeeded")
    assert [(a["dataset"], a["rows"]) for a in done["artifacts"]] == [("revenue", 4), ("revenue_rejected", 1)]
    assert (await acme.events(done["id"]))[-1]["data"]["location"] == done["artifacts"][0]["location"]
    for dataset in ("revenue", "revenue_rejected"):
        assert (await acme.ok("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/{dataset}"))["run_id"] == driver.run_id


@dataclass
class Complete:
    """A process whose run has reported its last; nobody seals it but the test."""

    installation: Installation
    client: httpx.AsyncClient
    acme: Caller
    driver: Driver

    @property
    def process_id(self) -> str:
        return str(self.driver.command.process_id)

    async def dead_sealers_manifest(self, reconciler: Reconciler, **changes: Any) -> Manifest:
        """Put the manifest as a sealer that died before it could commit."""
        async with reconciler.database.transaction() as connection:
            current = await lifecycle.lock(connection, self.driver.command.process_id)
        assert current is not None
        (checked,) = proposals.checked(reconciler.storage, current, reconciler.settings)
        manifest = proposals.manifest(current, checked, current.now).model_copy(update=changes)
        return seal.put_manifest(reconciler.storage, seal.sealable(checked.path, manifest), seal.put_until())[0]


@pytest_asyncio.fixture(loop_scope="session")
async def complete(still: Installation) -> AsyncIterator[Complete]:
    prepare_topics(still)
    with following(still) as launcher:
        async with still.api() as client:
            acme = await still.tenant(client)
            await acme.ingest()
            with running(still.relay()):
                command = await launcher.command((await acme.accepted(1))["id"])
            yield Complete(still, client, acme, await Driver(client, still, command).complete())


async def test_two_sealers_at_once_put_one_manifest(complete: Complete) -> None:
    async with complete.installation.reconciler() as one, complete.installation.reconciler() as two, complete.installation.sql() as sql:
        for _ in range(2):
            sealed = await asyncio.gather(seal_next(one), seal_next(two))
            assert sealed.count(True) <= 1, "who took it has it to himself"
            if (await complete.acme.process(complete.process_id))["state"] == "succeeded":
                break
        manifest = complete.driver.manifest()
        assert manifest is not None
        assert await complete.acme.history(complete.process_id) == ["accepted", "queued", "running", "sealing", "succeeded"]
        assert await sql.fetchval("SELECT manifest_sha256 FROM datasets WHERE process_id IS NOT NULL") == (
            f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        )


async def test_a_sealer_that_lost_its_lease_does_no_harm(complete: Complete) -> None:
    """Both have read the attempt as `sealing`; the slower one finds the manifest, and the process ended."""
    async with complete.installation.reconciler() as one, complete.installation.reconciler() as two, complete.installation.sql() as sql:
        first = asyncio.create_task(seal_next(one))
        await eventually(lambda: sql.fetchval("SELECT seal_lease_until IS NOT NULL FROM attempts"), what="the first sealer")
        await sql.execute("UPDATE attempts SET seal_lease_until = clock_timestamp()")
        await asyncio.gather(first, seal_next(two))
    assert (await complete.acme.process(complete.process_id))["state"] == "succeeded"
    assert await complete.acme.history(complete.process_id) == ["accepted", "queued", "running", "sealing", "succeeded"]


async def test_a_sealer_that_died_after_its_put_is_followed_by_another(complete: Complete) -> None:
    async with complete.installation.reconciler() as reconciler:
        left = await complete.dead_sealers_manifest(reconciler)
        before = complete.driver.manifest()
        assert await seal_next(reconciler)
    done = await complete.acme.process(complete.process_id)
    assert done["state"] == "succeeded"
    assert complete.driver.manifest() == before == left.to_bytes()
    dataset = await complete.acme.ok("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/filtered-1")
    assert dataset["manifest_sha256"] == f"sha256:{hashlib.sha256(left.to_bytes()).hexdigest()}"
    assert dataset["created_at"] == left.model_dump(mode="json")["created_at"]


async def test_what_a_zombie_adds_between_the_put_and_the_commit_changes_nothing(complete: Complete) -> None:
    async with complete.installation.reconciler() as reconciler:
        left = await complete.dead_sealers_manifest(reconciler)
        async with complete.installation.sql() as sql:
            await sql.execute("UPDATE attempts SET manifest_put_at = clock_timestamp()")
        await complete.driver.write(name="part-00001.zstd.parquet")
        assert await seal_next(reconciler)
    done = await complete.acme.process(complete.process_id)
    assert (done["state"], done["artifacts"][0]["rows"]) == ("succeeded", left.rows)
    assert complete.driver.manifest() == left.to_bytes()
    assert await complete.acme.history(complete.process_id) == ["accepted", "queued", "running", "sealing", "succeeded"]


async def test_a_taken_seal_is_left_to_its_sealer_until_its_lease_is_over(complete: Complete) -> None:
    async with complete.installation.reconciler() as reconciler, complete.installation.sql() as sql:
        await sql.execute("UPDATE attempts SET seal_lease_until = clock_timestamp() + interval '1 hour'")
        assert not await seal_next(reconciler)
        await sql.execute("UPDATE attempts SET seal_lease_until = clock_timestamp() - interval '1 second'")
        assert await seal_next(reconciler)
    assert (await complete.acme.process(complete.process_id))["state"] == "succeeded"


@pytest.mark.parametrize("foreign", ["another process's manifest", "no manifest at all"])
async def test_what_somebody_else_sealed_stays(foreign: str, complete: Complete) -> None:
    async with complete.installation.reconciler() as reconciler:
        if foreign == "no manifest at all":
            await complete.driver.put(complete.driver.path.manifest_key, b"I was here first")
        else:
            await complete.dead_sealers_manifest(reconciler, run_id="another-run", process_id=new_id())
        before = complete.driver.manifest()
        assert await seal_next(reconciler)
    failed = await complete.acme.process(complete.process_id)
    assert failed["state"] == "failed"
    words = "was sealed by run another-run" if foreign == "another process's manifest" else "exists and is not a manifest"
    assert words in failed["reason"]
    assert complete.driver.manifest() == before
    assert failed["artifacts"] == []


async def test_a_store_that_does_not_answer_is_waited_for(complete: Complete) -> None:
    nowhere = complete.installation.but(s3_endpoint="http://127.0.0.1:9")
    async with nowhere.reconciler() as cut_off, complete.installation.reconciler() as reconciler, complete.installation.sql() as sql:
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await seal_next(cut_off)
        waiting = await complete.acme.process(complete.process_id)
        assert (waiting["state"], waiting["reason"]) == ("sealing", "the files are complete; their seal waits for the object store")
        await sql.execute("UPDATE attempts SET seal_lease_until = clock_timestamp()")
        assert await seal_next(reconciler)
    assert await complete.acme.history(complete.process_id) == ["accepted", "queued", "running", "sealing", "waiting", "succeeded"]


async def test_a_store_that_does_not_answer_for_too_long_fails_the_process(complete: Complete) -> None:
    nowhere = complete.installation.but(s3_endpoint="http://127.0.0.1:9", seal_limit_seconds=60)
    async with nowhere.reconciler() as cut_off, complete.installation.sql() as sql:
        await sql.execute("UPDATE attempts SET sealing_at = sealing_at - interval '61 seconds'")
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await seal_next(cut_off)
    failed = await complete.acme.process(complete.process_id)
    assert failed["state"] == "failed"
    assert "for 60 s the object store did not let them be sealed" in failed["reason"]
    assert await complete.acme.history(complete.process_id) == ["accepted", "queued", "running", "sealing", "failed"]


async def test_a_seal_whose_manifest_may_be_there_is_never_given_up(complete: Complete) -> None:
    nowhere = complete.installation.but(s3_endpoint="http://127.0.0.1:9", seal_limit_seconds=60)
    async with nowhere.reconciler() as cut_off, complete.installation.reconciler() as reconciler, complete.installation.sql() as sql:
        # a sealer's PUT went through, and its answer was lost
        await complete.dead_sealers_manifest(reconciler)
        await sql.execute("UPDATE attempts SET sealing_at = sealing_at - interval '1 day', manifest_put_at = clock_timestamp()")
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await seal_next(cut_off)
        assert (await complete.acme.process(complete.process_id))["state"] == "sealing"
        await sql.execute("UPDATE attempts SET seal_lease_until = clock_timestamp()")
        assert await seal_next(reconciler)
    assert (await complete.acme.process(complete.process_id))["state"] == "succeeded"


async def test_a_seal_that_was_given_up_puts_nothing(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    async with complete.installation.reconciler() as reconciler, complete.installation.sql() as sql:
        checked = proposals.checked

        def given_up_meanwhile(*arguments: Any) -> list[proposals.Checked]:
            found = checked(*arguments)
            asyncio.run_coroutine_threadsafe(
                sql.execute("UPDATE attempts SET state = 'failed', rank = 60, ended_at = clock_timestamp()"), loop
            ).result()
            return found

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(proposals, "checked", given_up_meanwhile)
        assert await seal_next(reconciler)
    assert complete.driver.manifest() is None
