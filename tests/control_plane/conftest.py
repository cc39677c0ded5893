"""What the tests of the control plane share: servers for the session, an installation with running roles, and one without."""

import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio
import structlog
from pytest_asyncio import is_async_test

from tests.control_plane.caller import Caller
from tests.control_plane.installation import Installation, Role, create_database, prepare_topics, write_signing_key
from tests.control_plane.launcher import Launcher
from tests.control_plane.quiet import Quiet
from tests.control_plane.steps import Steps
from tests.services import Services


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all tests here, so that they share one API with its connections."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session", autouse=True)
def plain_log() -> None:
    """One line an event. The renderer that is made for a person's terminal takes seconds to draw a traceback."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ]
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(services: Services) -> str:
    """Name of a migrated, empty database, to be copied."""
    return (await create_database(services.database_url)).rsplit("/", 1)[1]


@pytest.fixture(scope="session")
def signing_key_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_signing_key(tmp_path_factory.mktemp("keys") / "key.pem")


async def new_installation(services: Services, template: str, signing_key_file: str) -> Installation:
    url = await create_database(services.database_url, template)
    prefix = f"test-{secrets.token_hex(4)}"
    return Installation(
        url, services.kafka_bootstrap, services.s3_endpoint, services.s3_access_key, services.s3_secret_key, prefix, signing_key_file
    )


@dataclass
class Live:
    """An installation whose roles run while they are needed, and the launcher's place in it."""

    installation: Installation
    launcher: Launcher
    roles: tuple[Role, ...] = ()

    def resume(self) -> None:
        if not self.roles:
            self.roles = (self.installation.relay(), self.installation.reconcile())
            for role in self.roles:
                role.start()

    def pause(self) -> None:
        roles, self.roles = self.roles, ()
        for role in roles:
            role.stop()


_LIVE = pytest.StashKey[Live]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Where a worker goes on with other tests, the roles rest: looking for work that does not come costs a tenth of a core."""
    yield
    if nextitem is not None and not nextitem.path.is_relative_to(Path(__file__).parent) and _LIVE in item.session.stash:
        item.session.stash[_LIVE].pause()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def live(request: pytest.FixtureRequest, services: Services, template: str, signing_key_file: str) -> AsyncIterator[Live]:
    installation = await new_installation(services, template, signing_key_file)
    prepare_topics(installation)
    live = request.session.stash[_LIVE] = Live(installation, Launcher(installation).start())
    live.resume()
    yield live
    live.pause()
    live.launcher.stop()


@pytest.fixture
def platform(live: Live) -> Iterator[Installation]:
    """The session's installation, relay and reconciler running. Tests keep apart by their tenants."""
    live.resume()
    yield live.installation
    for role in live.roles:
        role.check()


@pytest.fixture
def launcher(live: Live) -> Launcher:
    """The launcher's place in `platform`, as a cluster of its own."""
    live.launcher.cluster = f"cluster-{secrets.token_hex(4)}"
    return live.launcher


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(live: Live) -> AsyncIterator[httpx.AsyncClient]:
    """The API of `platform`."""
    async with live.installation.api() as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def acme(platform: Installation, client: httpx.AsyncClient) -> Caller:
    """The admin of a new tenant of `platform`, with a sealed `source`."""
    caller = await platform.tenant(client)
    await caller.ingest()
    return caller


@pytest_asyncio.fixture(loop_scope="session")
async def bare(platform: Installation, client: httpx.AsyncClient) -> Caller:
    """The admin of a new tenant of `platform` that has no data."""
    return await platform.tenant(client)


@pytest_asyncio.fixture(loop_scope="session")
async def still(services: Services, template: str, signing_key_file: str) -> Installation:
    """A new installation in which nothing runs but what the test starts; no topics yet."""
    return await new_installation(services, template, signing_key_file)


@pytest_asyncio.fixture(loop_scope="session")
async def sql(platform: Installation) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database of `platform`."""
    async with platform.sql() as connection:
        yield connection


@pytest.fixture
def steps(platform: Installation, client: httpx.AsyncClient, acme: Caller, launcher: Launcher) -> Steps:
    """Ways to a certain point of a process's life, for `acme`."""
    return Steps(platform, client, acme, launcher)


@pytest_asyncio.fixture(loop_scope="session")
async def quiet(still: Installation) -> AsyncIterator[Quiet]:
    """A new tenant of `still`, with a sealed `source`."""
    async with still.api() as client:
        caller = await still.tenant(client)
        await caller.ingest()
        yield Quiet(still, client, caller)
