"""Driver output, as it was shipped to the store."""

from tests.control_plane.caller import Caller
from tests.control_plane.driver import Driver
from tests.control_plane.launcher import Launcher
from tests.control_plane.steps import Steps

MEBIBYTE = 1 << 20


async def _ship(driver: Driver, *chunks: bytes) -> None:
    command = driver.command
    prefix = driver.root.log_prefix(command.process_id, command.step, command.attempt)
    for number, chunk in enumerate(chunks):
        await driver.put(f"{prefix}{number:06}.log", chunk)


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
    await second.complete()
    await acme.until(str(driver.command.process_id), "succeeded")
    assert await acme.ok("GET", f"{path}?offset=12") == {"text": "again\n", "next_offset": 18, "complete": True}
    assert await acme.ok("GET", f"{path}?offset=5") == {"text": "wei ä\nagain\n", "next_offset": 18, "complete": True}
    assert await acme.ok("GET", f"{path}?offset=18") == {"text": "", "next_offset": 18, "complete": True}
    assert (await acme.get(f"{path}?offset=-1")).status_code == 422


async def test_much_output_comes_in_parts(steps: Steps, acme: Caller) -> None:
    driver = await steps.running()
    path = f"/v1/processes/{driver.command.process_id}/logs"
    chunks = [bytes([65 + number]) * (MEBIBYTE * 3 // 4) for number in range(4)]
    await _ship(driver, *chunks)
    await driver.failed(retryable=False)
    text, offset, parts, complete = "", 0, 0, False
    while not complete:
        part = await acme.ok("GET", f"{path}?offset={offset}")
        assert part["next_offset"] > offset or part["complete"]
        text, offset, complete, parts = text + part["text"], part["next_offset"], part["complete"], parts + 1
    assert text.encode() == b"".join(chunks)
    assert parts > 1
