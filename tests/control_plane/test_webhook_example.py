"""The receiver of the how-to, run as its reader runs it, and sent to as the role sends."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from control_plane.settings import WebhookTargetSettings
from control_plane.webhooks import signing
from control_plane.webhooks.connecting import SystemResolver
from control_plane.webhooks.sending import Answer, Sender, Timeouts
from stratum.local.ports import choose_port
from tests.control_plane.waiting import eventually

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "webhook-receiver" / "receiver.py"
EVENT = {"type": "process.succeeded", "timestamp": "2024-10-05T12:00:20Z"}
DATA = {"id": "01a20065-f2df-71c8-870b-06a65fa44268", "artifacts": [{"location": "s3://stratum/a/b/c/d/"}], "reason": "sealed"}
BODY = json.dumps({**EVENT, "data": DATA}).encode()
OLD, NEW = signing.new_secret(), signing.new_secret()


class Example:
    """The running example, and what it printed."""

    def __init__(self, sender: Sender, url: str, output: Path) -> None:
        self.sender, self.url, self.output = sender, url, output

    async def post(self, headers: dict[str, str], body: bytes = BODY) -> int | None:
        return (await self.sender.post(self.url, headers, body)).status


@pytest.fixture
def child(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The example, running; its port, and where it prints."""
    port, output = choose_port(set()), tmp_path / "output"
    environment = {**os.environ, "STRATUM_WEBHOOK_SECRETS": OLD.get_secret_value()}
    with (
        output.open("wb") as printed,
        subprocess.Popen([sys.executable, str(EXAMPLE), str(port)], env=environment, stdout=printed) as child,
    ):
        yield port, output
        child.terminate()


@pytest_asyncio.fixture(loop_scope="session")
async def example(child: tuple[int, Path]) -> AsyncIterator[Example]:
    port, output = child
    rules = WebhookTargetSettings.model_validate({"webhook_allow": "127.0.0.1", "webhook_ports": str(port)}).target_rules
    async with Sender(rules, Timeouts(5, 20, 30), ssl.create_default_context(), SystemResolver()) as sender:

        async def answers() -> Answer | None:
            answer = await sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")
            return answer if answer.status else None

        assert (await eventually(answers, 60, "the example")) == Answer(401, "the receiver answered 401")
        yield Example(sender, f"http://127.0.0.1:{port}/hook", output)


async def test_it_takes_what_is_signed_and_acts_once(example: Example) -> None:
    headers = signing.headers([NEW, OLD], "delivery-1", datetime.now(UTC), BODY)
    assert len(headers["webhook-signature"].split(" ")) == 2, "during a rotation both sign"
    assert [await example.post(headers), await example.post(headers)] == [204, 204]
    assert example.output.read_text() == "process.succeeded 01a20065-f2df-71c8-870b-06a65fa44268 s3://stratum/a/b/c/d/\n"


@pytest.mark.parametrize("wrong", ["secret", "body", "age", "id", "none"])
async def test_it_takes_nothing_else(wrong: str, example: Example) -> None:
    moment = datetime.now(UTC) - timedelta(minutes=10 if wrong == "age" else 0)
    headers = signing.headers([NEW if wrong == "secret" else OLD], "delivery-1", moment, BODY)
    if wrong == "id":
        headers["webhook-id"] = "delivery-2"
    assert await example.post({} if wrong == "none" else headers, BODY + (b" " if wrong == "body" else b"")) == 401
    assert example.output.read_text() == ""


def test_the_vector_of_the_specification() -> None:
    """From standard-webhooks' own libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signing.headers(
        [signing.SecretStr(secret)], "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_secret_shows_itself_to_nobody_by_accident() -> None:
    assert "whsec_" not in f"{OLD} {OLD!r}"
    assert OLD.get_secret_value().startswith("whsec_")
