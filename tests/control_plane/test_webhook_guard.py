"""Deliveries reach no place that they may not, and no receiver can hold them up. Real servers; only the resolver is played."""

import asyncio
import time
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext, SSLObject

import pytest
import trustme

from control_plane.webhooks.addresses import Address
from tests.control_plane.hooked import hooked
from tests.control_plane.installation import Installation, running
from tests.control_plane.receiver import OK, answer, receiving


class Names:
    """A resolver whose answers are given in turn, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = [[ip_address(each) for each in answer] for answer in answers]
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        assert host == "hook.test"
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class NoNames:
    """A resolver that knows nothing."""

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        raise OSError("Name or service not known")


NOWHERE = "no connection was made: hook.test leads to no address that deliveries may be sent to"
NAMED = {"webhook_allow": "hook.test,127.0.0.1/32"}


async def test_a_name_that_leads_elsewhere_the_second_time(still: Installation) -> None:
    """DNS rebinding: what was checked is what is connected to; the second answer is for the second delivery, which is not sent."""
    async with (
        hooked(still, **NAMED, webhook_first_delay_seconds=1000.0) as scene,
        receiving("127.0.0.1") as allowed,
        receiving("127.0.0.2", allowed.port) as forbidden,
    ):
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        first = await scene.ended(allowed.url(host="hook.test"), 1)
        with running(scene.installation.webhooks(names)):
            await scene.until(first, "delivered")
            assert (names.asked, len(allowed.received), forbidden.connections) == (1, 1, 0)
            assert allowed.received[0].headers["host"] == f"hook.test:{allowed.port}"
            second = await scene.ended(allowed.url(host="hook.test"), 2)
            refused = await scene.until_failed(second)
        assert (refused["attempts"], names.asked, forbidden.connections) == (1, 2, 0)
        assert refused["last_error"] == NOWHERE


async def test_what_a_name_leads_to_is_not_told(still: Installation) -> None:
    """A tenant could ask for the names of our own network, one by one: that one is there must look like that none is."""
    told = []
    for names in (Names(["127.0.0.2"]), Names(["169.254.169.254"]), Names([]), NoNames()):
        async with hooked(still, **NAMED, webhook_first_delay_seconds=1000.0) as scene:
            process_id = await scene.ended("https://hook.test/", len(told) + 1)
            with running(scene.installation.webhooks(names)):
                failed = await scene.until_failed(process_id)
        told.append({name: failed[name] for name in ("state", "last_error", "last_status", "attempts")})
    assert told == [{"state": "waiting", "last_error": NOWHERE, "last_status": None, "attempts": 1}] * 4


@pytest.mark.parametrize(
    "answer",
    [
        ("127.0.0.1", "127.0.0.2"),
        ("127.0.0.1", "169.254.169.254"),
        ("127.0.0.1", "::1"),
        ("::ffff:127.0.0.1",),
        ("::ffff:169.254.169.254",),
        ("64:ff9b::7f00:1",),
        ("2002:7f00:1::",),
        ("2001:0:53aa:64c::1",),
        ("::7f00:1",),
        ("fe80::1",),
        ("0.0.0.0",),
    ],
)
async def test_one_bad_address_of_a_name_is_enough(answer: tuple[str, ...], still: Installation) -> None:
    async with hooked(still, **NAMED, webhook_first_delay_seconds=1000.0) as scene, receiving("0.0.0.0") as receiver:
        process_id = await scene.ended(receiver.url(host="hook.test"))
        with running(scene.installation.webhooks(Names(answer))):
            refused = await scene.until_failed(process_id)
        assert (receiver.connections, refused["attempts"], refused["last_error"]) == (0, 1, NOWHERE)


async def test_a_second_address_is_tried_when_the_first_is_dead(still: Installation) -> None:
    async with hooked(still, webhook_allow="hook.test,127.0.0.0/8") as scene, receiving("127.0.0.1") as receiver:
        process_id = await scene.ended(receiver.url(host="hook.test"))
        with running(scene.installation.webhooks(Names(["127.0.0.9", "127.0.0.1"]))):
            assert (await scene.until(process_id, "delivered"))["attempts"] == 1


async def test_a_redirect_is_not_followed(still: Installation) -> None:
    async with hooked(still, webhook_first_delay_seconds=1000.0) as scene, receiving() as receiver, receiving() as metadata:
        receiver.answers = [answer(307, f"Location: {metadata.url('/latest/meta-data')}")]
        process_id = await scene.ended(receiver.url())
        with running(scene.installation.webhooks()):
            failed = await scene.until_failed(process_id)
        assert (failed["state"], failed["last_status"], metadata.connections) == ("waiting", 307, 0)
        assert "redirects are not followed" in failed["last_error"]


async def test_proxies_of_the_environment_are_not_asked(still: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    async with hooked(still) as scene, receiving() as receiver, receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        process_id = await scene.ended(receiver.url())
        with running(scene.installation.webhooks()):
            await scene.until(process_id, "delivered")
        assert proxy.connections == 0


class Tls:
    """A private authority, and servers with its certificates that remember the name they were asked for."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.bundle = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.bundle))
        self.asked: list[str | None] = []

    def server(self, name: str) -> SSLContext:
        context = SSLContext(PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(name).configure_cert(context)

        def note(socket: SSLObject, server_name: str | None, _: SSLContext) -> None:
            self.asked.append(server_name)

        context.sni_callback = note  # type: ignore[assignment]
        return context


async def test_tls_is_spoken_with_the_name_and_not_the_address(still: Installation, tmp_path: Path) -> None:
    tls = Tls(tmp_path)
    settings = {**NAMED, "ca_bundle": str(tls.bundle)}
    async with hooked(still, **settings) as scene, receiving(tls=tls.server("hook.test")) as receiver:
        process_id = await scene.ended(receiver.url(host="hook.test", scheme="https"))
        with running(scene.installation.webhooks(Names(["127.0.0.1"]))):
            await scene.until(process_id, "delivered")
        assert tls.asked == ["hook.test"]
        assert receiver.received[0].headers["host"] == f"hook.test:{receiver.port}"


@pytest.mark.parametrize("wrong", ["name", "authority"])
async def test_a_certificate_must_be_good_for_the_name(wrong: str, still: Installation, tmp_path: Path) -> None:
    tls = Tls(tmp_path)
    settings = {**NAMED, "webhook_first_delay_seconds": 1000.0, **({"ca_bundle": str(tls.bundle)} if wrong == "name" else {})}
    name = "other.test" if wrong == "name" else "hook.test"
    async with hooked(still, **settings) as scene, receiving(tls=tls.server(name)) as receiver:
        process_id = await scene.ended(receiver.url(host="hook.test", scheme="https"))
        with running(scene.installation.webhooks(Names(["127.0.0.1"]))):
            failed = await scene.until_failed(process_id)
        assert (failed["state"], receiver.received) == ("waiting", [])
        assert "certificate" in failed["last_error"].lower()


async def _drip(writer: asyncio.StreamWriter) -> None:
    """Slow loris: something always comes, and never all of it."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"X-More: x\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def _say_nothing(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _endless_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-More: ")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def _endless_news(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
        await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    return


async def _half(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 O")


async def _speak_another_tongue(writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 secret.internal ESMTP ready\r\n")


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (_drip, "no complete answer came within 0.6 s"),
        (_endless_headers, "the receiver closed without an answer, or its answer was not HTTP"),
        (_endless_news, "no complete answer came within 0.6 s"),
        (_say_nothing, "nothing was heard for 0.3 s"),
        (_close, "the receiver closed without an answer, or its answer was not HTTP"),
        (_half, "the receiver closed without an answer, or its answer was not HTTP"),
        (_speak_another_tongue, "the receiver closed without an answer, or its answer was not HTTP"),
    ],
)
async def test_receivers_that_misbehave(behaviour: object, reason: str, still: Installation) -> None:
    # only the limit that is the case's own is short: on a busy machine the other would be met first
    bounds = {"webhook_read_seconds": 30.0, "webhook_total_seconds": 30.0}
    if reason.startswith("no complete"):
        bounds["webhook_total_seconds"] = 0.6
    if reason.startswith("nothing"):
        bounds["webhook_read_seconds"] = 0.3
    async with hooked(still, **bounds) as scene, receiving() as receiver:
        receiver.answers = [behaviour, OK]  # type: ignore[list-item]
        process_id = await scene.ended(receiver.url())
        with running(scene.installation.webhooks()):
            done = await scene.until(process_id, "delivered")
        assert done["attempts"] == 2
        async with scene.installation.sql() as sql:
            assert await sql.fetchval("SELECT count(*) FROM webhook_deliveries WHERE leased_until IS NOT NULL") == 0
    async with hooked(still, **bounds, webhook_first_delay_seconds=1000.0) as scene, receiving() as receiver:
        receiver.answers = [behaviour]  # type: ignore[list-item]
        process_id = await scene.ended(receiver.url(), 1)
        with running(scene.installation.webhooks()):
            failed = await scene.until_failed(process_id)
        assert failed["last_error"] == reason


async def test_an_endless_body_is_not_read(still: Installation) -> None:
    async with hooked(still) as scene, receiving() as receiver:
        written = 0

        async def endless(writer: asyncio.StreamWriter) -> None:
            nonlocal written
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
                await writer.drain()
                written += 65_536

        receiver.answers = [endless]
        begin = time.monotonic()
        process_id = await scene.ended(receiver.url())
        with running(scene.installation.webhooks()):
            assert (await scene.until(process_id, "delivered"))["last_status"] == 200
        assert time.monotonic() - begin < 15
        assert written < 32 * 1024 * 1024, "no more than the sockets between them hold"


async def test_a_url_that_can_never_work_is_refused_with_the_request(still: Installation) -> None:
    async with hooked(still, webhook_allow="", webhook_ports="443") as scene:
        for url in ("http://example.com/", "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/", "https://example.com:22/"):
            refused = await scene.caller.run(1, callback_url=url)
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/callback_url"), refused.text
        for url in ("https://0x7f.1/", "https://user:pass@example.com/", "ftp://example.com/"):
            assert (await scene.caller.run(1, callback_url=url)).status_code == 422
        assert (await scene.caller.run(1, callback_url="https://example.com/hook")).status_code == 202
