"""What all tests share."""

import pytest

from tests.figures import lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the tests measured."""
    if lines():
        terminalreporter.section("figures")
        for line in lines():
            terminalreporter.write_line(line)
