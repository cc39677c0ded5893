"""`stratum rebuild` on a whole platform: what its database lost is registered again from its store."""

import asyncio
from pathlib import Path

import asyncpg

from tests.e2e.platform import Platform, split

ENTITY = "rebuilt_shop"


def _forget(url: str) -> None:
    """As if the database were the copy of one that never knew the dataset."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("DELETE FROM datasets WHERE entity_id = $1", ENTITY)
        finally:
            await connection.close()

    asyncio.run(run())


def test_what_the_database_forgot_is_registered_again(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("id\n1\n2\n")
    platform.cli("ingest", ENTITY, "v1", str(tmp_path / "sales.csv"))
    _forget(platform.document["database_url"])
    name = f"local: {ENTITY}/v1/source"

    planned = platform.json("rebuild", "--dry-run")
    assert (planned["registered"], planned["conflicts"]) == ([name], {})
    platform.cli("head", ENTITY, "v1", "source", code=3)
    assert platform.json("rebuild", "--tenant", "somebody-else") == {"known": 0, "registered": [], "conflicts": {}}

    done = platform.cli("rebuild", "--tenant", "local").stdout.splitlines()
    assert done[0].endswith(" known, 1 registered, 0 to be looked at")
    assert done[1] == f"registered: {name}"
    assert platform.json("head", ENTITY, "v1", "source") == [{"id": 1}, {"id": 2}]
    assert platform.json("rebuild")["registered"] == []


def test_what_differs_is_told_with_an_exit_code_of_its_own(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("id\n7\n")
    dataset = platform.json("ingest", "differing_shop", "v1", str(tmp_path / "sales.csv"))
    bucket, key = split(dataset["manifest"])
    manifest = platform.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    platform.s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    try:
        (name,) = platform.json("rebuild", "--dry-run", code=4)["conflicts"]
        assert name == "local: differing_shop/v1/source"
    finally:
        platform.s3.put_object(Bucket=bucket, Key=key, Body=manifest)
    assert platform.json("rebuild", "--dry-run")["conflicts"] == {}


def test_without_its_servers_it_says_what_to_do(tmp_path: Path) -> None:
    error = Platform(tmp_path / "home").cli("rebuild", code=5).stderr
    assert "not running: postgres, s3" in error
    assert "stratum up" in error
