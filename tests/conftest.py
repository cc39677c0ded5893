"""What all tests share."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests import figures
from tests.e2e.platform import Platform, running_platform
from tests.services import services
from tests.workers import ByFile

__all__ = ["services"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Who runs what, in `pytest -n`."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform for the tests that leave it whole; those that kill parts of it have one of their own."""
    with running_platform(tmp_path_factory.mktemp("platform")) as platform:
        platform.warm_up(tmp_path_factory.mktemp("warm"))
        yield platform


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
