"""What the tests of a cluster share: one release for all of them, which the first installs or upgrades, and nobody uninstalls."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4
from zipfile import ZipFile

import pytest

from stratum.demo import flights_archive
from tests.cluster.cluster import Cluster
from tests.cluster.release import Release, installed
from tests.cluster.runs import VERSION


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The disposable cluster."""
    return Cluster()


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> Iterator[Release]:
    """The chart with its bundled services, in namespaces that enforce Pod Security `restricted`."""
    with installed(cluster) as release:
        yield release


@pytest.fixture(scope="session")
def flights(release: Release, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An entity whose version holds all flights as `source`; a new one each time, since a release outlives a session that was cut off."""
    entity = f"nyc_flights.{uuid4().hex[:8]}"
    folder = tmp_path_factory.mktemp("flights")
    with ZipFile(flights_archive()) as archive:
        member = next(name for name in archive.namelist() if name.endswith("flights.csv"))
        file = Path(archive.extract(member, folder))
    manifest = release.json("ingest", entity, VERSION, str(file), "--null", "NA")
    assert manifest["rows"] == 336_776
    return entity
