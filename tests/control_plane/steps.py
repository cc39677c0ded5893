"""The usual ways to a certain point of a process's life."""

from typing import Any

import httpx

from contracts.command import Command
from tests.control_plane.caller import Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation
from tests.control_plane.launcher import Launcher


class Steps:
    """Brings processes of one caller to a state, through the parts a real one goes through."""

    def __init__(self, installation: Installation, client: httpx.AsyncClient, caller: Caller, launcher: Launcher) -> None:
        self.installation = installation
        self.client = client
        self.caller = caller
        self.launcher = launcher

    def driver(self, command: Command, run_id: str | None = None) -> Driver:
        """A run of the command."""
        return Driver(self.client, self.installation, command, run_id)

    async def queued(self, number: int = 1, **fields: Any) -> Command:
        """A process whose command has come."""
        accepted = await self.caller.accepted(number, **fields)
        return await self.launcher.command(accepted["id"])

    async def submitted(self, number: int = 1, **fields: Any) -> Command:
        """A process whose job exists."""
        command = await self.queued(number, **fields)
        await self.launcher.say("submitted", command)
        await self.caller.until(str(command.process_id), "submitted")
        return command

    async def running(self, number: int = 1, **fields: Any) -> Driver:
        """A process whose run was granted the attempt."""
        return await self.driver(await self.submitted(number, **fields)).started()

    async def succeeded(self, number: int = 1, **fields: Any) -> Driver:
        """A process that is done."""
        driver = await self.running(number, **fields)
        assert (await driver.finished(await driver.make())).status_code == 200
        await self.caller.until(str(driver.command.process_id), "succeeded")
        return driver
