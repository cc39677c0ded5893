"""A full disk under each real server: PostgreSQL, Kafka, SeaweedFS. What was accepted ends rightly once there is room."""

import asyncio
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from botocore.exceptions import ClientError

from contracts.command import Command
from stratum.local.postgres import SUPERUSER, Postgres
from tests.chaos.fleet import Fleet, whole
from tests.chaos.real_runs import DRIVER_SECONDS, real_runs
from tests.chaos.servers import broker_on, database_on, store_on
from tests.chaos.small_disk import small_disk
from tests.chaos.stage import Stage, staged
from tests.control_plane.caller import BUCKET, ENTITY, VERSION, parquet
from tests.control_plane.conftest import new_installation
from tests.control_plane.installation import Installation
from tests.control_plane.waiting import eventually
from tests.figures import report
from tests.services import Services

FULL = "No space left on device"
DATABASE_MEBIBYTES = 320
BROKER_MEBIBYTES = 64
STORE_MEBIBYTES = 1024
"""Of which SeaweedFS keeps 512 free of its own accord."""
MANY = 40
RECOVERY_SECONDS = 180
"""In which a supervisor, who waits a second longer after each start that failed, has started a server again, and it serves."""
QUICK_SECONDS = 25
"""Within it every answer came, whatever the database did: a statement may take fifteen seconds, and a connection is waited for."""

_NEXT_SEGMENT = "SELECT pg_switch_wal(), pg_logical_emit_message(true, 'chaos', 'a record for the next segment')"
_PADDING = {"padding": "x" * 60}
_UNPUBLISHED = "SELECT count(*) FROM outbox WHERE process_id = ANY($1::uuid[]) AND published_at IS NULL"


async def asked(stage: Stage, number: int) -> httpx.Response:
    """The answer to a new request: accepted, or refused in a way that says when to come again; soon in any case."""
    answer = await stage.caller.run(number, output_dataset=f"filtered-{number}", labels=_PADDING)
    assert answer.elapsed.total_seconds() < QUICK_SECONDS, answer.text
    if answer.status_code == 202:
        stage.ledger.accepted.append(answer.json()["id"])
    else:
        assert_comes_again(answer)
    return answer


def assert_comes_again(answer: httpx.Response) -> None:
    """Refused, in a way that says when to come again."""
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) >= 1


async def superuser(postgres: Postgres) -> asyncpg.Connection:
    """A connection to make before the disk is full: then a new one may be refused for want of room for a cache."""
    return await asyncpg.connect(postgres.url, user=SUPERUSER, password=postgres.superuser_password, timeout=20)


async def use_up_its_log(connection: asyncpg.Connection) -> None:
    """Make the database need a new segment of its write-ahead log again and again, until it falls for want of one."""
    try:
        for _ in range(100):
            await connection.execute(_NEXT_SEGMENT, timeout=30)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return
    raise AssertionError("there was always room for its log")


def use_up_its_pages(installation: Installation) -> None:
    """Put small objects until it has refused many: what it has begun to fill may have room for some more."""
    refused = 0
    for number in range(1000):
        try:
            installation.s3.put_object(Bucket=BUCKET, Key=f"ballast/{number}", Body=os.urandom(200))
        except ClientError as error:
            refused += error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        if refused == MANY:
            return
    raise AssertionError("there was always room for objects")


@pytest.mark.slow
async def test_a_full_disk_under_the_database(services: Services, signing_key_file: str, tmp_path: Path) -> None:
    """First its tables cannot grow, then its log cannot, and it falls and cannot rise again."""
    with small_disk(tmp_path / "disk", DATABASE_MEBIBYTES) as disk, database_on(disk, tmp_path / "server") as server:
        installation = await new_installation(replace(services, database_url=server.service.url), None, signing_key_file)
        async with staged(installation, tmp_path) as stage:
            await stage.accept(2)
            connection = await superuser(server.service)
            await connection.execute(_NEXT_SEGMENT)  # a whole one, so that its log has room for longer than its tables
            assert disk.fill() > 0
            for number in range(2, 300):
                if (await asked(stage, number)).status_code == 503:
                    break
            assert re.search(f"ERROR: .*{FULL}", server.log), "its tables always had room"
            assert len(stage.ledger.accepted) >= 2

            await use_up_its_log(connection)
            assert re.search(f"PANIC: .*{FULL}", server.log), "it did not fall"
            report("fault: a full disk under the database", f"{server.log.count(FULL)} × {FULL!r} in its log, one of them its fall")
            assert (await asked(stage, 300)).status_code == 503
            assert (await stage.caller.get("/v1/processes")).status_code == 503

            disk.make_room()
            await eventually(lambda: _accepts(stage), RECOVERY_SECONDS, "an acceptance")
            async with installation.sql() as stage.sql:
                # what was refused with "the outcome is unknown" may be there too, and must end as well
                rows = await stage.sql.fetch("SELECT id FROM processes WHERE tenant = $1", stage.caller.tenant)
                ids = [str(row["id"]) for row in rows]
                assert set(stage.ledger.accepted) <= set(ids), "what was accepted is gone"
                assert await stage.verdict(ids) == []
                for part in (stage.relay, stage.reconcile):
                    part.check()


async def _accepts(stage: Stage) -> bool:
    return (await asked(stage, 301)).status_code == 202


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_full_disk_under_the_broker(services: Services, template: str, signing_key_file: str, tmp_path: Path) -> None:
    """It cannot append, falls and cannot rise again; requests are accepted all the while, and their commands come once it is back."""
    with small_disk(tmp_path / "disk", BROKER_MEBIBYTES) as disk, broker_on(disk, tmp_path / "server") as server:
        its_own = replace(services, kafka_bootstrap=server.service.bootstrap)
        async with staged(await new_installation(its_own, template, signing_key_file), tmp_path) as stage:
            ids = await stage.accept(2)
            await stage.settled(ids)
            stage.fleet.play = _unheralded
            lives = {server.pid}
            assert disk.fill() > 0

            async def fallen_twice() -> bool:
                ids.append((await stage.caller.accepted(len(ids)))["id"])
                lives.add(server.pid)
                return len(lives - {0}) == 3

            await eventually(fallen_twice, RECOVERY_SECONDS, "two falls of the broker", pause=1)
            assert FULL in server.log
            report("fault: a full disk under the broker", f"{len(lives - {0}) - 1} falls, {server.log.count(FULL)} × {FULL!r} in its log")
            assert await stage.sql.fetchval(_UNPUBLISHED, ids) > 0, "all of it was published"
            assert not await server.serves()

            disk.make_room()
            await eventually(server.serves, RECOVERY_SECONDS, "a broker that was started again", pause=0.5)
            stage.fleet.play = whole
            ids += await stage.accept(1, first=len(ids))
            assert await stage.verdict(ids, RECOVERY_SECONDS) == []
            assert all(stage.launcher.commands(process_id) for process_id in ids)
            for part in (stage.relay, stage.reconcile):
                part.check()


async def _unheralded(fleet: Fleet, command: Command) -> None:
    """A run whose launcher has no way to tell of it; its own reports go another."""
    driver = fleet.driver(command)
    if (await fleet.started(driver)).is_success:
        await fleet.finished(driver, await driver.make())


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_full_disk_under_the_store(services: Services, template: str, signing_key_file: str, tmp_path: Path) -> None:
    """An upload, its seal, the seal of a run, and the writes of a real run meet it: each is told, and is done once there is room."""
    files = {"part-00000.parquet": parquet()}
    with small_disk(tmp_path / "disk", STORE_MEBIBYTES) as disk, store_on(disk, tmp_path / "server") as server:
        store = server.service
        its_own = replace(services, s3_endpoint=store.endpoint, s3_access_key=store.access_key, s3_secret_key=store.secret_key)
        installation = (await new_installation(its_own, template, signing_key_file)).but(retry_delay_seconds=60)
        async with staged(installation, tmp_path) as stage, real_runs(stage, tmp_path / "jobs") as runs:
            written, full = asyncio.Event(), asyncio.Event()

            async def play(fleet: Fleet, command: Command) -> None:
                if command.action == "sql":
                    await runs.play(fleet, command)
                    return
                driver = fleet.driver(command)
                await fleet.started(driver)
                reference = await driver.make()
                written.set()
                await full.wait()
                await fleet.finished(driver, reference)

            stage.fleet.play = play
            sent = await stage.caller.begin_upload("sent")
            unsent = await stage.caller.announce(files, "unsent")
            (sealing,) = await stage.accept(1)
            await asyncio.wait_for(written.wait(), 60)
            assert disk.fill() > 0
            await asyncio.to_thread(use_up_its_pages, installation)
            full.set()

            (put,) = await stage.caller.put(unsent, files)
            assert put.status_code >= 500, put.text
            assert_comes_again(await stage.caller.post(f"{sent['path']}/seal"))
            answer = await stage.caller.run(action="sql", parameters={"query": "SELECT * FROM source"}, output_dataset="copied")
            assert answer.status_code == 202, answer.text
            writing = str(answer.json()["id"])
            stage.ledger.accepted.append(writing)
            await eventually(lambda: _failed(stage, writing), DRIVER_SECONDS, "a run that could not write")
            assert await stage.sql.fetchval("SELECT error_class FROM attempts WHERE process_id = $1", writing) == "STORAGE_UNAVAILABLE"
            assert (await stage.caller.process(sealing))["reason"].endswith("their seal waits for the object store")
            refusals = len(re.findall(FULL, server.log, re.IGNORECASE))
            assert refusals > 0
            report("fault: a full disk under the store", f"{refusals} × {FULL!r} in its log")
            for name in ("sent", "unsent", "copied", "filtered-0"):
                assert (await stage.caller.get(_path(name))).status_code == 404

            disk.make_room()
            server.start_again()  # where its index of names could not be written, it would refuse for as long as it lives
            (put,) = await stage.caller.put(unsent, files)
            assert put.is_success, put.text
            for upload in (sent, unsent):
                await stage.caller.ok("POST", f"{upload['path']}/seal")
            ids = [sealing, writing]
            assert await stage.verdict(ids, DRIVER_SECONDS) == []
            assert [(await stage.caller.process(process_id))["state"] for process_id in ids] == ["succeeded", "succeeded"]
            for part in (stage.relay, stage.reconcile):
                part.check()


def _path(dataset: str) -> str:
    return f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/{dataset}"


async def _failed(stage: Stage, process_id: str) -> Any:
    return await stage.sql.fetchval("SELECT count(*) = 1 FROM attempts WHERE process_id = $1 AND state = 'failed'", process_id)
