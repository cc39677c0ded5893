"""The caller is told of every end, at least once, and nobody's receiver stops the others."""

import asyncio
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from control_plane.webhooks.retries import Again, Delivered, GivenUp, Schedule
from control_plane.webhooks.sending import Answer
from tests.control_plane.caller import Caller
from tests.control_plane.commands import Command
from tests.control_plane.hooked import Hooked, hooked
from tests.control_plane.installation import Installation, running
from tests.control_plane.receiver import OK, answer, receiving
from tests.control_plane.steps import Steps
from tests.control_plane.waiting import eventually

HOOK = "https://example.com/hook"


async def test_an_end_is_told_and_signed(still: Installation) -> None:
    async with hooked(still) as scene, receiving() as receiver:
        process_id = await scene.ended(receiver.url("/hook?token=of-the-caller"))
        with running(scene.installation.webhooks()):
            delivery = await scene.until(process_id, "delivered")
        (received,) = receiver.received
        document = await scene.verified(received)
        assert document == {
            "type": "process.cancelled",
            "timestamp": document["data"]["ended_at"],
            "data": await scene.caller.process(process_id),
        }
        assert received.target == "/hook?token=of-the-caller"
        assert (received.headers["webhook-id"], received.headers["host"]) == (delivery["id"], f"127.0.0.1:{receiver.port}")
        assert received.headers["content-type"] == "application/json"
        assert (delivery["attempts"], delivery["last_status"], delivery["last_error"], delivery["next_try_at"]) == (1, 204, None, None)
        last = (await scene.caller.events(process_id))[-1]
        assert (last["type"], last["data"]["delivery"], last["data"]["status"]) == ("webhook_delivered", delivery["id"], 204)
        assert "of-the-caller" not in str(last) + str(delivery), "the query of a URL is the caller's secret"


async def test_a_changed_body_or_another_secret_is_noticed(still: Installation) -> None:
    async with hooked(still) as scene, receiving() as receiver:
        await scene.ended(receiver.url())
        with running(scene.installation.webhooks()):
            (received,) = await receiver.until(1)
        with pytest.raises(WebhookVerificationError):
            Webhook((await scene.secrets())[0]).verify(received.body + b" ", received.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").verify(received.body, received.headers)


@pytest.mark.parametrize("path", ["cancelled while held", "cancelled", "failed", "succeeded", "refused by the deadline"])
async def test_every_way_to_end_leaves_a_delivery(path: str, steps: Steps, acme: Caller) -> None:
    if path == "cancelled while held":
        async with steps.installation.sql() as sql:
            await sql.execute("UPDATE tenants SET max_in_flight = 1 WHERE id = $1", acme.tenant)
        await steps.queued(1)
        process_id = (await acme.accepted(2, callback_url=HOOK))["id"]
        await acme.ok("POST", f"/v1/processes/{process_id}/cancel")
    elif path == "cancelled":
        command = await steps.submitted(callback_url=HOOK)
        process_id = str(command.process_id)
        await acme.ok("POST", f"/v1/processes/{process_id}/cancel")
        assert not (await acme.ok("GET", "/v1/webhooks"))["items"], "cancelling is no end yet"
        await steps.launcher.say("ended", command, outcome="absent")
    elif path == "failed":
        driver = await steps.running(callback_url=HOOK)
        process_id = str(driver.command.process_id)
        await driver.failed(retryable=False)
    elif path == "succeeded":
        process_id = str((await steps.succeeded(callback_url=HOOK)).command.process_id)
    else:
        command = await steps.queued(callback_url=HOOK)
        process_id = str(command.process_id)
        async with steps.installation.sql() as sql:
            await sql.execute("UPDATE attempts SET start_before = now() - interval '1 s' WHERE process_id = $1", command.process_id)

    async def told() -> list[Any]:
        return list((await acme.ok("GET", f"/v1/webhooks?process_id={process_id}"))["items"])

    (delivery,) = await eventually(told, what="the delivery")
    process = await acme.process(process_id)
    assert (delivery["type"], delivery["state"], delivery["url"]) == (f"process.{process['state']}", "waiting", HOOK)
    assert process["ended_at"] is not None


async def test_who_gave_no_url_is_not_told(steps: Steps, acme: Caller) -> None:
    await steps.succeeded()
    assert (await acme.ok("GET", "/v1/webhooks"))["items"] == []


async def test_a_receiver_that_fails_is_tried_again_under_the_same_id(still: Installation) -> None:
    async with hooked(still) as scene, receiving() as receiver:
        receiver.answers = [answer(500), answer(404), OK]
        process_id = await scene.ended(receiver.url())
        with running(scene.installation.webhooks()):
            delivery = await scene.until(process_id, "delivered")
        assert {each.headers["webhook-id"] for each in receiver.received} == {delivery["id"]}
        assert len({each.body for each in receiver.received}) == 1
        assert (delivery["attempts"], len(receiver.received)) == (3, 3)
        assert (await scene.caller.history(process_id))[-2:] == ["cancelled", "webhook_delivered"], "attempts in vain are no history"


async def test_gone_ends_it(still: Installation) -> None:
    async with hooked(still) as scene, receiving() as receiver:
        receiver.answers = [answer(410)]
        process_id = await scene.ended(receiver.url())
        with running(scene.installation.webhooks()):
            delivery = await scene.until(process_id, "given_up")
        assert (delivery["attempts"], delivery["last_status"]) == (1, 410)
        assert "Gone" in delivery["last_error"]
        assert (await scene.caller.history(process_id))[-1] == "webhook_given_up"


async def test_it_is_given_up_in_the_end_and_can_be_sent_again(still: Installation) -> None:
    async with hooked(still, webhook_give_up_seconds=0.3) as scene, receiving() as receiver:
        receiver.answers = [answer(503)]
        process_id = await scene.ended(receiver.url())
        with running(scene.installation.webhooks()):
            delivery = await scene.until(process_id, "given_up")
            assert (delivery["attempts"] >= 2, "the receiver answered 503" in delivery["last_error"]) == (True, True), delivery
            receiver.answers = [OK]
            again = await scene.caller.ok("POST", f"/v1/webhooks/{delivery['id']}/replay")
            assert (again["state"], again["ended_at"]) == ("waiting", None)
            done = await scene.until(process_id, "delivered")
        assert receiver.received[-1].headers["webhook-id"] == done["id"] == delivery["id"]
        assert done["attempts"] == delivery["attempts"] + 1


FAST = ("Date: Sun, 01 Jan 2040 00:00:00 GMT", "Retry-After: Mon, 02 Jan 2040 00:00:00 GMT")
"""A receiver whose clock is far ahead: what it means is a day."""


@pytest.mark.parametrize("headers", [("Retry-After: 86400",), FAST])
async def test_a_receiver_that_asks_for_time_gets_it_within_bounds(headers: tuple[str, ...], still: Installation) -> None:
    async with hooked(still, webhook_longest_delay_seconds=1000.0) as scene, receiving() as receiver:
        receiver.answers = [answer(429, *headers)]
        process_id = await scene.ended(receiver.url())
        with running(scene.installation.webhooks()):
            await scene.until_failed(process_id)
        async with scene.installation.sql() as sql:
            seconds = await sql.fetchval("SELECT extract(epoch FROM due_at - clock_timestamp()) FROM webhook_deliveries")
        assert 900 < seconds <= 1000


def test_the_schedule() -> None:
    schedule = Schedule(first=5, longest=3600, give_up_after=86_400)
    failed = Answer(500, "the receiver answered 500")
    assert schedule.following(Answer(204), 1, 0, 1) == Delivered()
    delays = [schedule.following(failed, attempt, 0, 1) for attempt in range(1, 13)]
    assert delays == [Again(min(5 * 2**n, 3600)) for n in range(12)]
    assert schedule.following(failed, 1, 0, 0) == Again(2.5), "half of it at least"
    assert schedule.following(failed, 5000, 0, 1) == Again(3600)
    assert isinstance(schedule.following(failed, 30, 86_000, 1), GivenUp)
    assert isinstance(schedule.following(Answer(410, "gone"), 1, 0, 1), GivenUp)
    assert schedule.following(Answer(503, "busy", retry_after=60), 1, 0, 1) == Again(60)
    assert schedule.following(Answer(503, "busy", retry_after=1), 1, 0, 1) == Again(5), "sooner than planned is never asked for"
    assert schedule.following(Answer(503, "busy", retry_after=10.0**8), 1, 0, 1) == Again(3600)


async def test_killed_between_sending_and_marking_it_is_sent_again(still: Installation) -> None:
    async with hooked(still) as scene, receiving() as receiver:
        answered = asyncio.Event()

        async def late(writer: asyncio.StreamWriter) -> None:
            await answered.wait()
            writer.write(OK)

        receiver.answers = [late, OK]
        process_id = await scene.ended(receiver.url())
        first = Command(scene.installation, "webhooks", HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9", NO_PROXY=None)
        await receiver.until(1)
        first.kill()
        await first.ended()
        answered.set()
        waiting = await scene.delivery(process_id)
        assert (waiting["state"], waiting["attempts"]) == ("waiting", 1)
        async with scene.installation.sql() as sql:  # its lease runs out
            await sql.execute("UPDATE webhook_deliveries SET due_at = now(), leased_until = now()")
        second = Command(scene.installation, "webhooks")
        done = await scene.until(process_id, "delivered")
        assert [each.headers["webhook-id"] for each in receiver.received] == [done["id"]] * 2
        second.terminate()
        code, output = await second.ended()
        assert (code, "Traceback" in output) == (0, False), output
        assert (await scene.secrets())[0] not in output


async def test_what_is_leased_is_left_alone(still: Installation) -> None:
    """The test above could pass with leases that do not hold."""
    async with hooked(still) as scene, receiving() as receiver, receiving() as other:
        leased = await scene.ended(receiver.url(), 1)
        async with scene.installation.sql() as sql:
            query = "UPDATE webhook_deliveries SET attempts = 1, due_at = now() + interval '1 h', leased_until = now() + interval '1 h'"
            await sql.execute(query)
        free = await scene.ended(other.url(), 2)
        with running(scene.installation.webhooks()):
            await scene.until(free, "delivered")
        assert (receiver.received, (await scene.delivery(leased))["attempts"]) == ([], 1)
        await scene.caller.ok("POST", f"/v1/webhooks/{(await scene.delivery(leased))['id']}/replay")
        with running(scene.installation.webhooks()):
            await scene.until(await scene.ended(other.url(), 3), "delivered")
        assert receiver.received == [], "a replay does not take what is on its way"


async def test_two_roles_share_the_work(still: Installation) -> None:
    async with hooked(still) as scene, receiving() as receiver:
        ended = [await scene.ended(receiver.url(), number) for number in range(30)]
        with running(scene.installation.webhooks(), scene.installation.webhooks()):
            for process_id in ended:
                assert (await scene.until(process_id, "delivered"))["attempts"] == 1
        ids = [each.headers["webhook-id"] for each in receiver.received]
        assert (len(ids), len(set(ids))) == (30, 30)
        assert receiver.open_at_once <= 2 * scene.installation.webhook_settings.webhook_per_host


async def test_a_slow_host_keeps_nobody_else_waiting(still: Installation) -> None:
    bounds = {"webhook_per_host": 2, "webhook_concurrency": 4, "webhook_per_tenant": 4}
    async with hooked(still, **bounds) as scene, receiving() as slow, receiving("127.0.0.3") as quick:
        release = asyncio.Event()

        async def hang(writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(OK)

        slow.answers = [hang]
        hanging = [await scene.ended(slow.url(), number) for number in range(8)]
        with running(scene.installation.webhooks()):
            await slow.until(2)
            for number in range(10, 16):
                process_id = await scene.ended(quick.url(host="127.0.0.3"), number)
                await scene.until(process_id, "delivered")
            assert (len(slow.received), slow.open_at_once) == (2, 2)
            release.set()
            for process_id in hanging:
                await scene.until(process_id, "delivered")
        assert slow.open_at_once == 2


async def test_one_tenants_many_leave_room_for_another(still: Installation) -> None:
    bounds = {"webhook_per_host": 2, "webhook_concurrency": 3, "webhook_per_tenant": 2}
    async with hooked(still, **bounds) as scene, receiving("0.0.0.0") as slow, receiving("127.0.0.1") as quick:
        release = asyncio.Event()

        async def hang(writer: asyncio.StreamWriter) -> None:
            await release.wait()

        slow.answers = [hang]
        for number in range(6):
            await scene.ended(slow.url(host=f"127.0.1.{number + 1}"), number)
        other = Hooked(scene.installation, await scene.installation.tenant(scene.caller.client))
        await other.caller.ingest()
        with running(scene.installation.webhooks()):
            await slow.until(2)
            await other.until(await other.ended(quick.url()), "delivered")
            assert slow.open_at_once == 2
            release.set()


async def test_it_stops_when_what_is_on_its_way_has_ended(still: Installation) -> None:
    async with hooked(still) as scene, receiving() as receiver:
        release = asyncio.Event()

        async def late(writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(OK)

        receiver.answers = [late]
        process_id = await scene.ended(receiver.url())
        role = scene.installation.webhooks()
        role.start()
        await receiver.until(1)
        stopping = asyncio.create_task(asyncio.to_thread(role.stop))
        release.set()
        await stopping
        assert (await scene.delivery(process_id))["state"] == "delivered"
