"""What only tests of a whole platform share."""

from collections.abc import Iterator

import pytest

from tests.e2e.platform import Platform, running_platform


@pytest.fixture(scope="session")
def doomed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform for the tests that stop it or kill parts of it."""
    with running_platform(tmp_path_factory.mktemp("doomed")) as platform:
        platform.warm_up(tmp_path_factory.mktemp("warm"))
        yield platform
