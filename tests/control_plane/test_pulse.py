"""Whether a role's loops turn, as the liveness probe asks."""

import time
from collections.abc import Iterator

import httpx
import pytest

from contracts.pulse import Pulse, serve
from control_plane import reconcile, relay
from control_plane.webhooks import role as webhooks
from stratum.local.ports import choose_port
from tests.control_plane.commands import Command
from tests.control_plane.installation import Installation, Role, prepare_topics, running
from tests.control_plane.waiting import eventually


async def _get(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(url)


@pytest.fixture
def pulse() -> Pulse:
    return Pulse(patience_seconds=0.05)


@pytest.fixture
def url(pulse: Pulse) -> Iterator[str]:
    port = choose_port(set())
    server = serve(port, pulse)
    yield f"http://127.0.0.1:{port}"
    server.shutdown()
    server.server_close()


async def test_a_loop_that_turns_no_more_is_named(pulse: Pulse, url: str) -> None:
    assert (await _get(f"{url}/healthz")).json() == {"status": "ok", "checks": {}}
    pulse.beat("pauses", pause_seconds=600)
    pulse.beat("hangs")

    async def stuck() -> bool:
        return (await _get(f"{url}/healthz")).status_code == 503

    await eventually(stuck, what="the loop that hangs")
    assert (await _get(f"{url}/healthz")).json() == {"status": "stuck", "checks": {"hangs": "does not turn"}}
    pulse.patience_seconds = 600
    pulse.beat("hangs")
    assert (await _get(f"{url}/healthz")).status_code == 200


def test_metrics_lie_beside_it(url: str) -> None:
    assert "stratum_released_total" in httpx.get(f"{url}/metrics").text
    assert httpx.get(f"{url}/elsewhere").status_code == 404


@pytest.mark.parametrize(
    ("role", "loops"),
    [
        ("relay", {"relay"}),
        ("webhooks", {"webhooks"}),
        ("reconcile", {"events", "left events", "seal", "deadlines", "unwatched", "on the way", "sweep"}),
    ],
)
async def test_the_roles_beat(role: str, loops: set[str], still: Installation) -> None:
    """A patience of less than nothing shows which loops are watched."""
    prepare_topics(still)
    pulse = Pulse(patience_seconds=-10_000)
    if role == "relay":
        work = Role(lambda stop: relay.run(still.relay_settings, stop, pulse))
    elif role == "webhooks":
        work = Role(lambda stop: webhooks.run(still.webhook_settings, stop, pulse))
    else:
        work = Role(lambda stop: reconcile.run(still.reconcile_settings, stop, pulse))
    with running(work):

        async def all_seen() -> bool:
            return set(pulse.stuck()) == loops

        await eventually(all_seen, what=f"{loops}")


async def test_a_role_answers_on_its_port_and_stops_when_asked(still: Installation) -> None:
    prepare_topics(still)
    port = choose_port(set())
    role = Command(still, "relay", STRATUM_METRICS_PORT=str(port))

    async def answers() -> bool:
        try:
            return (await _get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(answers, what="the relay's port")
    begin = time.monotonic()
    role.terminate()
    code, output = await role.ended(20)
    assert (code, "Traceback" in output) == (0, False), output
    assert time.monotonic() - begin < 15
