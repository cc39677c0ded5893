"""Launcher and drivers for chaos: each command becomes a run, once a job name, which reports as a real one does, until it is heard."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from contracts.command import Command
from contracts.identifiers import job_name
from tests.chaos.ledger import Ledger
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation
from tests.control_plane.launcher import Launcher

Play = Callable[["Fleet", Command], Awaitable[None]]


class Fleet:
    """Follows the commands. `play`: what becomes of each; it may be changed at any time."""

    def __init__(self, launcher: Launcher, client: httpx.AsyncClient, installation: Installation, ledger: Ledger) -> None:
        self.launcher = launcher
        self.client = client
        self.installation = installation
        self.ledger = ledger
        self.play: Play = whole
        self._jobs: dict[str, asyncio.Task[None]] = {}

    async def work(self) -> None:
        """Run what comes, until cancelled; the failure of a run ends it."""
        try:
            async with asyncio.TaskGroup() as runs:
                while True:
                    for value in [message.value() for message in list(self.launcher.received[self.launcher.topics.commands])]:
                        self._take(Command.model_validate_json(value), runs)
                    await asyncio.sleep(0.05)
        finally:
            self._jobs.clear()

    def _take(self, command: Command, runs: asyncio.TaskGroup) -> None:
        name = job_name(command.process_id, command.step, command.attempt)
        if name not in self._jobs:
            self._jobs[name] = runs.create_task(self._run(command))

    async def _run(self, command: Command) -> None:
        await self.play(self, command)

    def driver(self, command: Command) -> Driver:
        """A run of the command."""
        return Driver(self.client, self.installation, command)

    async def started(self, driver: Driver) -> httpx.Response:
        """Ask for the grant until there is an answer."""
        answer = await insist(lambda: driver.report("started"))
        if answer.is_success:
            self.ledger.granted[str(driver.command.process_id), driver.command.attempt].add(driver.run_id)
        return answer

    async def finished(self, driver: Driver, reference: dict[str, str]) -> httpx.Response:
        """Report the end until there is an answer."""
        answer = await insist(lambda: driver.finished(reference))
        if answer.is_success:
            self.ledger.finished[str(driver.command.process_id), driver.command.attempt].add(driver.run_id)
        return answer


async def insist(send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Send until somebody answers something other than 'not now'."""
    while True:
        try:
            answer = await send()
        except httpx.TransportError:
            await asyncio.sleep(0.2)
            continue
        if answer.status_code < 500:
            return answer
        await asyncio.sleep(0.2)


async def whole(fleet: Fleet, command: Command) -> None:
    """From the job to its end, without a fault of its own."""
    await fleet.launcher.say("submitted", command)
    driver = fleet.driver(command)
    if not (await fleet.started(driver)).is_success:
        return
    await fleet.finished(driver, await driver.make())
    await fleet.launcher.say("ended", command)
