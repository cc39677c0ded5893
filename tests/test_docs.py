"""Pages lead to what exists, and name every setting of the cluster's file."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

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
