"""One platform for the tests that leave it whole; those that kill parts of it have one of their own."""

from collections.abc import Iterator

import pytest

from tests.e2e.platform import Platform, running_platform


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("platform")) as platform:
        yield platform
