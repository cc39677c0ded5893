"""What only tests of a whole platform share."""

from collections.abc import Iterator

import pytest

from tests.e2e.platform import Platform, warm_platform
from tests.workers import shared


@pytest.fixture(scope="session")
def doomed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform for the tests that stop it or kill parts of it."""
    yield from shared(request.session, warm_platform(tmp_path_factory, "doomed"))
