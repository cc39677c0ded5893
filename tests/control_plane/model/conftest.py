"""One installation for all examples of a test: an example begins with empty tables, and names of its own in the store."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from tests.control_plane.conftest import new_installation
from tests.control_plane.direct import Direct, directly
from tests.control_plane.model.oracle import Oracle
from tests.control_plane.model.world import World
from tests.services import Services

T = TypeVar("T")


@dataclass
class Stage:
    """Where examples are played: an event loop of the test's own, since Hypothesis does not wait for coroutines."""

    runner: asyncio.Runner
    direct: Direct

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def new_world(self) -> World:
        return self.run(self.fresh())

    async def fresh(self) -> World:
        """Nothing but the sealed `source`."""
        await self.direct.sql("TRUNCATE processes CASCADE")
        await self.direct.sql("TRUNCATE observations")
        await self.direct.sql("INSERT INTO datasets SELECT * FROM sources")
        return World(self.direct, Oracle(self.direct.reconciler))


@pytest.fixture
def stage(services: Services, template: str, signing_key_file: str) -> Iterator[Stage]:
    with asyncio.Runner() as runner:
        installation = runner.run(new_installation(services, template, signing_key_file)).but(retry_delay_seconds=0)
        opened = directly(installation)
        direct = runner.run(opened.__aenter__())
        runner.run(direct.sql("CREATE TABLE sources AS SELECT * FROM datasets"))
        try:
            yield Stage(runner, direct)
        finally:
            runner.run(opened.__aexit__(None, None, None))
