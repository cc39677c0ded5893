"""No credential is in what is said about it: the database refuses the password, the store refuses the keys, the caller's key is wrong."""

import secrets
from urllib.parse import urlsplit

import httpx
import pytest

from contracts.identifiers import new_id
from stratum.local.ports import choose_port
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.commands import Command
from tests.control_plane.installation import Installation
from tests.control_plane.served import served

ROLES = ("api", "relay", "reconcile", "webhooks")


def _password(installation: Installation) -> str:
    password = urlsplit(installation.database_url).password
    assert password
    return password


@pytest.mark.parametrize("role", [*ROLES, "migrate"])
async def test_a_database_that_refuses_the_password(role: str, still: Installation) -> None:
    wrong = secrets.token_urlsafe(24)
    url = still.database_url.replace(_password(still), wrong)
    command = Command(still, role, STRATUM_DATABASE_URL=url, STRATUM_HTTP_PORT=str(choose_port(set())))
    try:
        await command.says("password authentication failed")
    finally:
        if command.is_up:
            command.terminate()
        _, output = await command.ended()
    for secret in (wrong, _password(still), still.s3_secret_key):
        assert secret not in output


async def test_a_store_that_refuses_the_keys(still: Installation) -> None:
    wrong = secrets.token_urlsafe(24)
    async with still.api() as client:
        acme = await still.tenant(client)
        upload = await acme.begin_upload()
    answers: list[httpx.Response] = []
    async with served(still, s3_secret_key=wrong) as api:
        caller = Caller(api.client, acme.tenant, acme.key, acme.root, still)
        answers.append(await caller.post(f"{upload['path']}/seal"))
        answers.append(await api.client.get("/v1/processes", headers={"Authorization": f"Bearer {acme.key[:-1]}"}))
        answers.append(await caller.get(f"/v1/processes/{new_id()}?key={acme.key}"))
        answers.append(await caller.get(f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source"))
        assert [answer.status_code for answer in answers] == [503, 401, 404, 404], [answer.text for answer in answers]
        api.command.terminate()
        _, output = await api.command.ended()
    assert "/seal" in output, "it logs what it refused"
    for place, text in {"log": output, "answers": "".join(answer.text for answer in answers)}.items():
        for secret in (wrong, acme.key[:-1], still.s3_secret_key, _password(still)):
            assert secret not in text, place
