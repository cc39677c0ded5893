"""The bill of materials: whole, with hashes, and CycloneDX by its own schema."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.supply.sbom import ROOT, main
from stratum.local.jars import read_lock


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"
    main([str(file)])
    return file.read_text()


@pytest.fixture(scope="module")
def components(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)["components"]
    return found


def test_it_is_cyclonedx(text: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_5)
    document = json.loads(text)
    # that its items are unique is checked by comparing each with each: minutes for all of them, and each kind is made in one place
    document["components"] = [*document["components"][:8], *document["components"][-8:]]
    document["dependencies"] = document.get("dependencies", [])[:16]
    assert {c["purl"].split("/")[0] for c in document["components"]} == {"pkg:pypi", "pkg:maven"}
    text = json.dumps(document)
    assert validator.validate_str(text) is None
    broken = text.replace('"alg": "SHA-256"', '"alg": "SHA-257"')
    assert broken != text
    assert validator.validate_str(broken) is not None, "the validator does look"


def test_every_package_of_the_lock_is_named_with_its_files(components: list[dict[str, Any]]) -> None:
    locked = {p["name"]: p for p in tomllib.loads((ROOT / "uv.lock").read_text())["package"] if "registry" in p["source"]}
    assert len(locked) > 100
    named = {c["name"]: c for c in components if c["purl"].startswith("pkg:pypi/")}
    assert named.keys() == locked.keys()
    for name, package in locked.items():
        assert named[name]["version"] == package["version"]
        files = [package["sdist"]] if "sdist" in package else []
        expected = {file["hash"].removeprefix("sha256:") for file in [*files, *package.get("wheels", [])]}
        assert {h["content"] for ref in named[name]["externalReferences"] for h in ref["hashes"]} == expected, name


def test_every_jar_is_named_with_its_hash(components: list[dict[str, Any]]) -> None:
    locked = {jar.file: jar for group in read_lock().values() for jar in group.jars}
    assert len(locked) > 40
    jars = {c["properties"][0]["value"]: c for c in components if c["purl"].startswith("pkg:maven/")}
    assert {file: c["hashes"] for file, c in jars.items()} == {
        file: [{"alg": "SHA-256", "content": jar.sha256}] for file, jar in locked.items()
    }
    one = jars["hadoop-aws-3.4.2.jar"]
    assert (one["purl"], one["version"]) == ("pkg:maven/org.apache.hadoop/hadoop-aws@3.4.2?type=jar", "3.4.2")


def test_the_command_writes_the_same_to_standard_output(components: list[dict[str, Any]]) -> None:
    run = subprocess.run([sys.executable, "-m", "deploy.supply.sbom"], cwd=Path(ROOT), check=True, capture_output=True, text=True)
    assert json.loads(run.stdout)["components"] == components
