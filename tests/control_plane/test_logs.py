"""Driver output, as it was shipped to the store."""

import pytest

from contracts.layout import LOG_END_NAME
from control_plane import logs
from control_plane.storage import Storage
from tests.control_plane.caller import Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation
from tests.control_plane.launcher import Launcher
from tests.control_plane.steps import Steps

MEBIBYTE = 1 << 20


def _prefix(driver: Driver) -> str:
    command = driver.command
    return driver.root.log_prefix(command.process_id, command.step, command.attempt)


async def _ship(driver: Driver, *chunks: bytes) -> None:
    for number, chunk in enumerate(chunks):
        await driver.put(f"{_prefix(driver)}{number:06}.log", chunk)


async def _end(driver: Driver) -> None:
    await driver.put(f"{_prefix(driver)}{LOG_END_NAME}", b"")


async def test_the_output_of_all_attempts_in_order(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    driver = await steps.running()
    path = f"/v1/processes/{driver.command.process_id}/logs"
    assert await acme.ok("GET", path) == {"text": "", "next_offset": 0, "complete": False}
    await _ship(driver, b"one\n", "zwei ä\n".encode())
    first = await acme.ok("GET", path)
    assert first == {"text": "one\nzwei ä\n", "next_offset": 12, "complete": False}
    await driver.failed(retryable=True)
    second = steps.driver(await launcher.command(str(driver.command.process_id), attempt=2))
    await _ship(second, b"again\n")
    # the first attempt's log may still grow, and what comes after it cannot be counted before
    assert await acme.ok("GET", f"{path}?offset=12") == {"text": "", "next_offset": 12, "complete": False}
    await _end(driver)
    assert await acme.ok("GET", f"{path}?offset=12") == {"text": "again\n", "next_offset": 18, "complete": False}
    await second.complete()
    await acme.until(str(driver.command.process_id), "succeeded")
    # the process has ended, but not its log
    assert await acme.ok("GET", f"{path}?offset=12") == {"text": "again\n", "next_offset": 18, "complete": False}
    await _end(second)
    assert await acme.ok("GET", f"{path}?offset=12") == {"text": "again\n", "next_offset": 18, "complete": True}
    assert await acme.ok("GET", f"{path}?offset=5") == {"text": "wei ä\nagain\n", "next_offset": 18, "complete": True}
    assert await acme.ok("GET", f"{path}?offset=18") == {"text": "", "next_offset": 18, "complete": True}
    assert (await acme.get(f"{path}?offset=-1")).status_code == 422


async def test_much_output_comes_in_parts(steps: Steps, acme: Caller) -> None:
    driver = await steps.running()
    path = f"/v1/processes/{driver.command.process_id}/logs"
    chunks = [bytes([65 + number]) * (MEBIBYTE * 3 // 4) for number in range(4)]
    await _ship(driver, *chunks)
    await _end(driver)
    await driver.failed(retryable=False)
    text, offset, parts, complete = "", 0, 0, False
    while not complete:
        part = await acme.ok("GET", f"{path}?offset={offset}")
        assert part["next_offset"] > offset or part["complete"]
        text, offset, complete, parts = text + part["text"], part["next_offset"], part["complete"], parts + 1
    assert text.encode() == b"".join(chunks)
    assert parts > 1


async def test_a_log_whose_end_never_comes_is_waited_for_only_so_long(steps: Steps, acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await steps.running()
    path = f"/v1/processes/{driver.command.process_id}/logs"
    await _ship(driver, b"one\n")
    await driver.failed(retryable=False)
    assert not (await acme.ok("GET", path))["complete"]
    monkeypatch.setattr(logs, "PATIENCE_SECONDS", 0.0)
    assert await acme.ok("GET", path) == {"text": "one\n", "next_offset": 4, "complete": True}


async def test_nothing_is_waited_for_where_no_job_ever_was(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command = await steps.queued()
    await launcher.say("refused", command)
    await acme.until(str(command.process_id), "failed")
    assert await acme.ok("GET", f"/v1/processes/{command.process_id}/logs") == {"text": "", "next_offset": 0, "complete": True}


async def test_an_empty_chunk_is_passed_over(steps: Steps, acme: Caller) -> None:
    """No range of it can be asked for."""
    driver = await steps.running()
    path = f"/v1/processes/{driver.command.process_id}/logs"
    await _ship(driver, b"one\n", b"", b"two\n", b"")
    assert await acme.ok("GET", path) == {"text": "one\ntwo\n", "next_offset": 8, "complete": False}
    assert await acme.ok("GET", f"{path}?offset=4") == {"text": "two\n", "next_offset": 8, "complete": False}


async def test_a_folder_full_of_objects_is_read_as_far_as_logs_go(steps: Steps, acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may fill the folder of its log; what lies behind so many objects is none of our shippers'."""
    driver = await steps.running()
    await _ship(driver, b"one\n", b"two\n", b"three\n")
    monkeypatch.setattr(logs, "MOST_OBJECTS", 2)
    path = f"/v1/processes/{driver.command.process_id}/logs"
    assert await acme.ok("GET", path) == {"text": "one\ntwo\n", "next_offset": 8, "complete": False}


class _Swept(Storage):
    """A sweep removes what was listed."""

    def part(self, bucket: str, key: str, begin: int, size: int) -> bytes:
        if key.endswith("000001.log"):
            self.delete(bucket, [key])
        return super().part(bucket, key, begin, size)


async def test_a_chunk_that_goes_between_list_and_read_is_the_end(steps: Steps, platform: Installation) -> None:
    driver = await steps.running()
    await _ship(driver, b"one\n", b"two\n", b"three\n")
    source = logs.LogSource(driver.root.bucket, _prefix(driver), given_up=True)
    chunk = logs.read(_Swept(platform.reconcile_settings), [source], 0, ended=True)
    assert (chunk.text, chunk.next_offset, chunk.complete) == ("one\n", 4, True)
