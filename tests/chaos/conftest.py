"""What the chaos tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pytest_asyncio import is_async_test

from tests.chaos.stage import Stage, staged
from tests.control_plane.conftest import new_installation, plain_log, signing_key_file, template
from tests.control_plane.installation import Installation
from tests.services import Services

__all__ = ["plain_log", "signing_key_file", "template"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all tests here."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(loop_scope="session")
async def empty(services: Services, template: str, signing_key_file: str) -> Installation:
    """An installation in which nothing runs."""
    return await new_installation(services, template, signing_key_file)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(
    services: Services, template: str, signing_key_file: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """One stage for the faults that leave it whole."""
    installation = await new_installation(services, template, signing_key_file)
    async with staged(installation, tmp_path_factory.mktemp("stage")) as stage:
        yield stage
