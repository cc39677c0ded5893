"""What all tests share."""

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests import figures
from tests.e2e.platform import Platform, warm_platform
from tests.services import services
from tests.turns import turn_of
from tests.workers import ByScope, place_of, scope_ended, shared

__all__ = ["services"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByScope:
    """Who runs what, in `pytest -n`."""
    return ByScope(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: place_of(item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Have those that must be alone on a cluster be alone."""
    with turn_of(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """End what only the tests up to this one share."""
    yield
    scope_ended(item, nextitem)


@pytest.fixture(scope="session")
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform for the tests that leave it whole; those that kill parts of it have one of their own."""
    yield from shared(request.session, warm_platform(tmp_path_factory, "platform"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the figures of a worker of `pytest -n` to the process that shows them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = figures.measured()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the figures of a worker that has ended."""
    figures.take_over([tuple(figure) for figure in getattr(node, "workeroutput", {}).get("figures", ())])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the tests measured."""
    if lines := figures.lines():
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
