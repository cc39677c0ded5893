"""What all tests share."""

from collections.abc import Iterator

import pytest

from tests.e2e.platform import Platform, running_platform
from tests.figures import lines
from tests.services import services

__all__ = ["services"]


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform for the tests that leave it whole; those that kill parts of it have one of their own."""
    with running_platform(tmp_path_factory.mktemp("platform")) as platform:
        platform.warm_up(tmp_path_factory.mktemp("warm"))
        yield platform


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the tests measured."""
    if lines():
        terminalreporter.section("figures")
        for line in lines():
            terminalreporter.write_line(line)
