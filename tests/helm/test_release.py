"""What `stratum tenants` reads of a release, by helm itself; its releases come from a file instead of a cluster."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stratum.errors import Conflict, Invalid, NotFound
from stratum.tenants.helm import Helm
from tests.helm.chart import CHART

pytestmark = pytest.mark.cluster

VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helm:
    """helm, in whose memory there are these releases: one that is well, and one whose upgrade was cut off."""
    releases = [
        _release("stratum", "deployed", VERSION, {"tenants": [{"name": "acme", "maxStoredBytes": 10**12}], "dev": None}),
        _release("bare", "failed", VERSION, {}),
        _release("older", "deployed", "0.0.9", {}),
        _release("stuck", "pending-upgrade", VERSION, {}),
        _release("other", "deployed", VERSION, {}, chart="nginx"),
    ]
    file = tmp_path / "releases.yaml"
    file.write_text(yaml.safe_dump(releases))
    monkeypatch.setenv("HELM_DRIVER", "memory")
    monkeypatch.setenv("HELM_MEMORY_DRIVER_DATA", str(file))
    return Helm("stratum", "stratum", None, 60)


def test_values_and_revision(helm: Helm) -> None:
    revision = helm.revision()
    assert (revision.number, revision.chart, revision.version, revision.is_deployed) == (3, "stratum", VERSION, True)
    release = helm.release()
    assert release.values == {"tenants": [{"name": "acme", "maxStoredBytes": 10**12}], "dev": None}
    assert isinstance(release.entries[0]["maxStoredBytes"], int), "not 1e+12"
    assert Helm("bare", "stratum", None, 60).release().values == {}
    assert not Helm("bare", "stratum", None, 60).revision().is_deployed


def test_what_is_not_there_or_not_whole(helm: Helm) -> None:
    with pytest.raises(NotFound, match="no release nothing in the namespace stratum"):
        Helm("nothing", "stratum", None, 60).revision()
    with pytest.raises(Conflict, match="pending-upgrade"):
        Helm("stuck", "stratum", None, 60).revision()


def test_another_chart_or_version_is_refused(helm: Helm, tmp_path: Path) -> None:
    helm.require_chart(CHART, helm.revision())
    older, other = Helm("older", "stratum", None, 60), Helm("other", "stratum", None, 60)
    with pytest.raises(Conflict, match=rf"Give --chart with version 0\.0\.9, or upgrade the release to {VERSION}"):
        older.require_chart(CHART, older.revision())
    with pytest.raises(Invalid, match="of the chart 'nginx'"):
        other.require_chart(CHART, other.revision())
    with pytest.raises(Invalid, match="There is no chart"):
        helm.require_chart(tmp_path, helm.revision())


def _release(name: str, status: str, version: str, config: dict[str, Any], chart: str = "stratum") -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "stratum",
        "version": 3,
        "info": {"status": status, "last_deployed": "2026-01-01T00:00:00Z"},
        "chart": {"metadata": {"name": chart, "version": version, "appVersion": version, "apiVersion": "v2"}},
        "config": config,
    }
