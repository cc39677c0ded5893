"""The keys that sign tokens are changed under load: commands in the queue, runs under way, and none is refused."""

import os
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from contracts import signing_keys
from contracts.command import Command as RunCommand
from contracts.command import covered_digest
from control_plane.signing_keys import write
from launcher.errors import KeysUnavailable
from launcher.keys import JwksKeys, require_genuine
from stratum.local.ports import choose_port
from tests.control_plane.caller import Caller
from tests.control_plane.commands import Command, run
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running, write_signing_key
from tests.control_plane.launcher import following
from tests.control_plane.waiting import eventually


@asynccontextmanager
async def serving(installation: Installation) -> AsyncIterator[httpx.AsyncClient]:
    """The API as a process of its own, on a port."""
    port = choose_port(set())
    api = Command(installation.but(http_port=port), "api")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

            async def up() -> bool:
                try:
                    return (await client.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(up, 120, "the API")
            yield client
    finally:
        api.terminate()
        await api.ended()


async def published(client: httpx.AsyncClient) -> set[str]:
    return {key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]}


def signer(command: RunCommand) -> str:
    return str(jwt.get_unverified_header(command.flow_token)["kid"])


def _work(command: RunCommand) -> str:
    return covered_digest(command.model_dump_json().encode())


async def test_nothing_is_refused_while_keys_are_changed(still: Installation, tmp_path: Path) -> None:
    file = Path(write_signing_key(tmp_path / "keys.pem"))
    installation = Installation(**{**still.__dict__, "signing_key_file": str(file)})
    (old,) = signing_keys.read(file)
    prepare_topics(installation)
    with following(installation) as launcher, running(installation.relay(), installation.reconcile()), httpx.Client() as http:
        async with serving(installation) as client, installation.sql() as sql:
            acme = await installation.tenant(client)
            await acme.ingest()
            # a launcher's keys, fetched before there is a new one
            keys = JwksKeys(f"{client.base_url}/.well-known/jwks.json", http)

            async def accepted(number: int) -> RunCommand:
                return await launcher.command((await acme.accepted(number))["id"])

            under_way = await Driver(client, installation, await accepted(1)).started()
            in_the_queue = await accepted(2)
            require_genuine(under_way.command, keys, "stratum:start", time.monotonic(), _work(under_way.command))
            assert signer(in_the_queue) == old.id

            code, output = await run(installation, "signing-keys", "rotate", str(file), "--publish-seconds", "10", "--retire-seconds", "30")
            assert (code, "is published, and signs from" in output) == (0, True), output
            (new,) = {key.id for key in signing_keys.read(file)} - {old.id}

            async def is_published() -> bool:
                return await published(client) == {old.id, new}

            await eventually(is_published, 15, "the new key")
            number, signers = 3, [old.id]
            while signers[-1] != new:
                command = await accepted(number)
                await eventually(lambda command=command: genuine(command, keys), 20, "a launcher that knows the key")  # type: ignore[misc]
                assert (await under_way.heartbeat()).status_code == 200
                await finish(Driver(client, installation, command), acme)
                number, signers = number + 1, [*signers, signer(command)]
            assert len(signers) > 2, "the new key was published before it signed"

            # by now the old key signs nothing; what it has signed is good
            await finish(Driver(client, installation, in_the_queue), acme)
            assert (await under_way.heartbeat()).status_code == 200

            async def is_gone() -> bool:
                assert (await under_way.heartbeat()).status_code == 200
                return await published(client) == {new}

            await eventually(is_gone, 120, "the end of the old key")
            assert (await under_way.finished(await under_way.make())).status_code == 200
            await acme.until(str(under_way.command.process_id), "succeeded", 60)
            assert await sql.fetchval("SELECT count(*) FROM refused_callbacks") == 0
            assert await sql.fetchval("SELECT count(*) FROM attempts WHERE number > 1") == 0


async def genuine(command: RunCommand, keys: JwksKeys) -> bool:
    """Whether the launcher takes it, or must fetch keys first; raises if it takes it for forged."""
    try:
        require_genuine(command, keys, "stratum:start", time.monotonic(), _work(command))
    except KeysUnavailable:
        return False
    return True


async def finish(driver: Driver, caller: Caller) -> None:
    await driver.complete()
    await caller.until(str(driver.command.process_id), "succeeded", 60)


def _readable_by_the_group(path: Path) -> Path:
    write_signing_key(path)
    path.chmod(0o640)
    return path


def _rights(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_the_command_changes_the_file_and_nothing_of_its_rights(still: Installation, tmp_path: Path) -> None:
    file = _readable_by_the_group(tmp_path / "keys.pem")
    (old,) = signing_keys.read(file)
    code, output = await run(still, "signing-keys", "rotate", str(file))
    assert code == 0, output
    assert _rights(tmp_path) == {"keys.pem": 0o640}
    keys = {key.id: key for key in signing_keys.read(file)}
    assert keys[old.id].verifies_until is not None
    assert keys[old.id].verifies_until > datetime.now(UTC) + timedelta(days=13)
    code, again = await run(still, "signing-keys", "rotate", str(file))
    assert (code, "a change is under way" in again, "Traceback" in again) == (1, True, False), again
    code, shown = await run(still, "signing-keys", "show", str(file))
    assert (code, shown) == (0, output)
    assert f"{old.id}  signs, until" in shown
    assert "PRIVATE" not in output + again + shown


@pytest.mark.parametrize("content", [None, "nothing"])
async def test_a_file_without_a_key(content: str | None, still: Installation, tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    if content is not None:
        file.write_text(content)
    for command in ("show", "rotate"):
        code, output = await run(still, "signing-keys", command, str(file))
        assert (code, "cannot read the signing key" in output, "Traceback" in output) == (1, True, False), output


def test_a_file_that_cannot_be_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(write_signing_key(tmp_path / "keys.pem"))
    before: Any = file.read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(signing_keys.SigningKeyError, match="cannot write the signing key"):
        write(file, signing_keys.read(file))
    assert file.read_bytes() == before
