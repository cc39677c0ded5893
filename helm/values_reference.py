"""`python helm/values_reference.py write | check`: docs/reference/helm-values.md, made from the chart's values and their schema."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "stratum"
REFERENCE = ROOT / "docs" / "reference" / "helm-values.md"
_MARK = "# --"
_HEAD = """# Values of the Helm chart

Made from `helm/stratum/values.yaml` by `make contracts`. A name that is not here is refused.
Installing, upgrading and going back: [how-to](../how-to/install-on-kubernetes.md).
"""


@dataclass(frozen=True, slots=True)
class Value:
    """One value: its path, its default as JSON, and what the comment above it says."""

    path: str
    default: str
    text: str


def reference() -> str:
    """The page."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    sections: dict[str, list[Value]] = {}
    for value in values_of(text):
        sections.setdefault(value.path.split(".")[0] if "." in value.path else "General", []).append(value)
    parts = [_HEAD, *(_section(title, values) for title, values in sections.items()), _tenants()]
    return "\n".join(parts)


def values_of(text: str) -> list[Value]:
    """Every value of a values file that has no named values inside. One written in braces is one value."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return list(_leaves(root, (), text.splitlines())) if root is not None else []


def _leaves(node: yaml.Node, path: tuple[str, ...], lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        here = (*path, key.value)
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from _leaves(value, here, lines)
        else:
            default = json.dumps(yaml.safe_load(yaml.serialize(value)), separators=(", ", ": "))
            yield Value(".".join(here), default, _comment_above(lines, key.start_mark.line))


def _comment_above(lines: list[str], line: int) -> str:
    found: list[str] = []
    while line > 0 and (above := lines[line - 1].strip()).startswith("#"):
        found.insert(0, above)
        if above.startswith(_MARK):
            return " ".join(each.removeprefix(_MARK).removeprefix("#").strip() for each in found)
        line -= 1
    return ""


def _section(title: str, values: list[Value]) -> str:
    rows = [f"| `{value.path}` | `{value.default}` | {_cell(value.text)} |" for value in values]
    return "\n".join([f"## {title}", "", "| value | default | meaning |", "| --- | --- | --- |", *rows, ""])


def _tenants() -> str:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    items: dict[str, Any] = schema["properties"]["tenants"]["items"]
    rows = [f"| `{name}` | {_cell(each['description'])} |" for name, each in items["properties"].items()]
    head = ["## Tenants", "", "Each item of `tenants`:", "", "| key | meaning |", "| --- | --- |"]
    return "\n".join([*head, *rows, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """The exit code: 1 when `check` finds the page stale."""
    page = reference()
    if arguments == ["write"]:
        REFERENCE.write_text(page, encoding="utf-8")
        return 0
    if arguments == ["check"]:
        if REFERENCE.is_file() and REFERENCE.read_text(encoding="utf-8") == page:
            return 0
        sys.stderr.write(f"stale: {REFERENCE.relative_to(ROOT)}; mend with: make contracts\n")
        return 1
    sys.stderr.write(f"{__doc__}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
