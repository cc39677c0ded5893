"""A manifest that cannot be registered is reported, and all others are."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from contracts.identifiers import new_id
from contracts.layout import StorageRoot
from contracts.manifest import Manifest
from control_plane.errors import StorageRefused
from control_plane.rebuild import rebuild as rebuilding
from control_plane.rebuild.rebuild import rebuild
from control_plane.rebuild.report import Report
from control_plane.storage import Storage
from tests.control_plane.caller import BUCKET, ENTITY, VERSION, Caller
from tests.control_plane.installation import Installation
from tests.control_plane.quiet import Quiet, leftover_settings


@pytest_asyncio.fixture(loop_scope="session")
async def quiet(still: Installation) -> AsyncIterator[Quiet]:
    """A tenant with a `source`, and with `filtered-1` and `filtered-2`, which the database does not know any more."""
    async with still.api() as client:
        quiet = Quiet(still, client, await still.tenant(client))
        await quiet.caller.ingest()
        for number in (1, 2):
            await quiet.sealed(number)
        async with still.sql() as sql:
            await sql.execute("DELETE FROM datasets WHERE dataset LIKE 'filtered-%'")
        yield quiet


def _name(caller: Caller, dataset: str) -> str:
    return f"{caller.tenant}: {ENTITY}/{VERSION}/{dataset}"


async def _rebuilt(quiet: Quiet, *, dry_run: bool = False) -> Report:
    return await rebuild(leftover_settings(quiet.installation), None, dry_run=dry_run)


def _forge(quiet: Quiet, **changes: Any) -> None:
    """Change the manifest of `filtered-1`, beyond what its model would write."""
    path = StorageRoot.parse(quiet.caller.root).dataset(ENTITY, VERSION, "filtered-1")
    s3 = quiet.installation.s3
    was = json.loads(s3.get_object(Bucket=BUCKET, Key=path.manifest_key)["Body"].read())
    s3.put_object(Bucket=BUCKET, Key=path.manifest_key, Body=json.dumps({**was, **changes}).encode())


FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "an upload without a UUID": ({"process_id": None, "step": None, "attempt": None}, "no upload's id"),
    "no action": ({"process_id": str(new_id()), "action": None, "action_revision": None}, "does not say by which"),
    "no attempt": ({"process_id": str(new_id()), "attempt": None}, "does not say by which"),
    "an attempt that no row can have": ({"process_id": str(new_id()), "attempt": 70_000}, "attempt 70000"),
    "text that no database keeps": ({"process_id": str(new_id()), "parameters": {"condition": "a\x00"}}, "cannot be registered"),
}


@pytest.mark.parametrize("kind", FORGED)
async def test_a_manifest_that_no_row_can_hold(kind: str, quiet: Quiet) -> None:
    changes, words = FORGED[kind]
    _forge(quiet, **changes)
    report = await _rebuilt(quiet)
    assert (report.known, report.registered) == (1, [_name(quiet.caller, "filtered-2")])
    assert report.conflicts.keys() == {_name(quiet.caller, "filtered-1")}
    assert words in report.conflicts[_name(quiet.caller, "filtered-1")]


async def test_a_manifest_that_is_too_large(quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    working = Storage.get
    monkeypatch.setattr(Storage, "get", lambda self, bucket, key, most=3000: working(self, bucket, key, most))
    _forge(quiet, parameters={"condition": "x" * 5000})
    report = await _rebuilt(quiet)
    assert report.registered == [_name(quiet.caller, "filtered-2")]
    assert "more than 3000 bytes" in report.conflicts[_name(quiet.caller, "filtered-1")]


async def test_a_defect_that_one_manifest_brings_to_light(quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    working = rebuilding.read_sealed

    def defect(store: Storage, tenant: str, path: Any) -> Any:
        if path.dataset == "filtered-1":
            raise RecursionError
        return working(store, tenant, path)

    monkeypatch.setattr(rebuilding, "read_sealed", defect)
    report = await _rebuilt(quiet)
    assert report.registered == [_name(quiet.caller, "filtered-2")]
    assert "RecursionError" in report.conflicts[_name(quiet.caller, "filtered-1")]


async def test_a_tenant_whose_store_lets_nobody_in(quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    shut = await quiet.installation.tenant(quiet.client, f"a-{new_id().hex[-8:]}")
    working = Storage.pages

    def pages(store: Storage, bucket: str, prefix: str) -> Any:
        if shut.tenant in prefix:
            raise StorageRefused("the object store answered 403")
        return working(store, bucket, prefix)

    monkeypatch.setattr(Storage, "pages", pages)
    report = await _rebuilt(quiet)
    assert sorted(report.registered) == [_name(quiet.caller, "filtered-1"), _name(quiet.caller, "filtered-2")]
    assert report.conflicts == {shut.tenant: "the object store answered 403"}


async def test_no_more_than_one_processs_manifests_are_held_at_once(quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, most = 0, 0
    working = Manifest.model_validate_json

    class Counted(Manifest):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def counted(body: bytes, **options: Any) -> Manifest:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return Counted.model_validate(working(body, **options).model_dump())

    for number in (3, 4, 5):
        await quiet.sealed(number)
    async with quiet.installation.sql() as sql:
        await sql.execute("DELETE FROM datasets WHERE dataset LIKE 'filtered-%'")
    monkeypatch.setattr(Manifest, "model_validate_json", counted)
    report = await _rebuilt(quiet)
    assert (len(report.registered), report.conflicts) == (5, {})
    assert most <= 3
