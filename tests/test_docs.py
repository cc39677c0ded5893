"""Pages lead to what exists, and name every setting of the cluster's file."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

import control_plane.metrics
import control_plane.webhooks.metrics
import launcher.metrics
from control_plane.api.permissions import TABLE
from launcher.kubernetes.config import KubernetesConfig

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in _links(page) if not _exists(page, link)]
    assert not broken


def test_the_reference_has_every_key_of_the_configuration() -> None:
    reference = (ROOT / "docs/reference/kubernetes.md").read_text(encoding="utf-8")
    missing = [name for name in KubernetesConfig.model_fields if not re.search(rf"^\|.*`{name}[`.]", reference, re.MULTILINE)]
    assert not missing


def _links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith(("http://", "https://")):
            yield link


def _exists(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_reference_has_every_operation_with_its_role() -> None:
    reference = (ROOT / "docs/reference/roles.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|$", reference, re.MULTILINE))
    assert rows == {name: access for name, access in TABLE.items() if access not in ("anyone", "run")}
    assert all(f"`{name}`" in reference for name in TABLE)


def test_the_reference_has_every_metric_with_its_labels() -> None:
    reference = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`stratum_[^|]+) \| ([^|]*)\| [^|]+\| [^|]+\|$", reference, re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for names, labels in rows for name in re.findall(r"`(\w+)`", names)}
    modules = (control_plane.metrics, control_plane.webhooks.metrics, launcher.metrics)
    metrics = [each for module in modules for each in vars(module).values() if isinstance(each, MetricWrapperBase)]
    assert documented == {_exposed_name(metric): set(metric._labelnames) for metric in metrics}


def _exposed_name(metric: MetricWrapperBase) -> str:
    return f"{metric._name}_total" if isinstance(metric, Counter) else metric._name
