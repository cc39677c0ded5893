"""A server that is down: what callers are told meanwhile, and that nothing is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from control_plane import migration
from tests.control_plane.caller import Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import following
from tests.control_plane.servers import Kafka, Postgres
from tests.control_plane.waiting import eventually
from tests.services import Services


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path)
    with server.running():
        yield server


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[Kafka]:
    server = Kafka(tmp_path)
    with server.running():
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def own_database(postgres: Postgres, services: Services, signing_key_file: str) -> Installation:
    await migration.migrate(postgres.url)
    return Installation(
        postgres.url, services.kafka_bootstrap, services.s3_endpoint, services.s3_access_key, services.s3_secret_key,
        f"test-{postgres.service.port}", signing_key_file,
    )  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def own_broker(kafka: Kafka, still: Installation) -> AsyncIterator[Installation]:
    installation = Installation(**{**still.__dict__, "kafka_bootstrap": kafka.bootstrap})
    prepare_topics(installation)
    yield installation


async def _refused_fast(caller: Caller, method: str, path: str) -> None:
    begin = time.monotonic()
    answer = await caller.request(
        method, path, json={"entity_id": "e", "data_version": "v", "action": "profile"} if method == "POST" else None
    )
    assert time.monotonic() - begin < 5
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:stratum:problem:unavailable"), answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    assert "database" in answer.json()["detail"]


async def test_without_the_database_requests_are_refused_fast_and_it_goes_on_afterwards(
    postgres: Postgres, own_database: Installation
) -> None:
    prepare_topics(own_database)
    with following(own_database) as launcher, running(own_database.relay(), own_database.reconcile()):
        async with own_database.api() as client:
            acme = await own_database.tenant(client)
            await acme.ingest()
            driver = await Driver(client, own_database, await launcher.command((await acme.accepted(1))["id"])).started()
            waiting = await launcher.command((await acme.accepted(2))["id"])
            process_id = str(driver.command.process_id)

            postgres.kill()
            for method, path in (
                ("POST", "/v1/processes"),
                ("GET", "/v1/processes"),
                ("GET", f"/v1/processes/{process_id}"),
                ("GET", "/v1/time"),
            ):
                await _refused_fast(acme, method, path)
            assert (await driver.heartbeat()).status_code == 503
            assert (await acme.get("/healthz")).status_code == 200
            ready = await acme.get("/readyz")
            assert (ready.status_code, ready.json()["status"], ready.json()["checks"]["s3"]) == (503, "unavailable", "ok")
            assert "database" in ready.json()["checks"]["postgres"]
            await launcher.say("submitted", waiting)

            postgres.start()
            await eventually(lambda: _is_ready(acme), 30, "readiness")
            await acme.until(str(waiting.process_id), "submitted")
            assert (await driver.heartbeat()).status_code == 200
            assert (await driver.finished(await driver.make())).status_code == 200
            await acme.until(process_id, "succeeded")
            assert await acme.history(process_id) == ["accepted", "queued", "running", "sealing", "succeeded"]
            assert await acme.history(str(waiting.process_id)) == ["accepted", "queued", "submitted"]
            third = await acme.accepted(3)
            await launcher.command(third["id"])


async def _is_ready(acme: Caller) -> bool:
    return (await acme.get("/readyz")).status_code == 200


async def test_without_kafka_requests_are_accepted_and_delivered_later(kafka: Kafka, own_broker: Installation) -> None:
    async with own_broker.api() as client:
        acme = await own_broker.tenant(client)
        await acme.ingest()
        with running(own_broker.relay(), own_broker.reconcile()):
            with following(own_broker) as launcher:
                await launcher.command((await acme.accepted(1))["id"])
            kafka.kill()
            accepted = await acme.accepted(2)
            await acme.until(accepted["id"], "queued")
            assert (await acme.get("/readyz")).status_code == 200
            await asyncio.to_thread(kafka.start)
            with following(own_broker) as launcher:
                await eventually(lambda: _has_come(launcher.commands, accepted["id"]), 60, "the command")
                await Driver(client, own_broker, launcher.commands(accepted["id"])[0]).complete()
                await acme.until(accepted["id"], "succeeded")
    commands = {str(command) for command in launcher.commands(accepted["id"])}
    assert len(commands) == 1, "sent again it is the same message"


async def _has_come(commands: object, process_id: str) -> bool:
    return bool(commands(process_id))  # type: ignore[operator]


async def test_a_database_that_comes_late_is_waited_for(tmp_path: Path, services: Services, signing_key_file: str) -> None:
    server = Postgres(tmp_path)
    installation = Installation(
        server.url, services.kafka_bootstrap, services.s3_endpoint, services.s3_access_key, services.s3_secret_key,
        f"test-{server.service.port}", signing_key_file,
    )  # fmt: skip
    prepare_topics(installation)
    async with installation.api() as client:
        assert (await client.get("/readyz")).status_code == 503
        with server.running():
            await migration.migrate(server.url)
            with following(installation) as launcher, running(installation.relay(), installation.reconcile()):
                acme = await installation.tenant(client)
                await acme.ingest()
                await launcher.command((await acme.accepted(1))["id"])
