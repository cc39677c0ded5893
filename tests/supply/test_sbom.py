"""The bill of materials: whole, with hashes, and CycloneDX by its own schema."""

import hashlib
import json
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import jsonschema_rs
import pytest

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


@pytest.fixture(scope="module")
def schema() -> Any:
    """CycloneDX 1.5, with the two schemas that it refers to, as their maintainers ship them."""
    folder = files("cyclonedx.schema._res")
    names = [f"{name}.SNAPSHOT.schema.json" for name in ("bom-1.5", "spdx", "jsf-0.82")]
    bom, *others = (json.loads((folder / name).read_text()) for name in names)
    registry = jsonschema_rs.Registry([(urljoin(bom["$id"], name), other) for name, other in zip(names[1:], others, strict=True)])
    return jsonschema_rs.validator_for(bom, registry=registry)


def test_it_is_cyclonedx(text: str, schema: Any) -> None:
    schema.validate(json.loads(text))
    broken = text.replace('"alg": "SHA-256"', '"alg": "SHA-257"')
    assert broken != text
    assert not schema.is_valid(json.loads(broken)), "the validator does look"


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


def test_every_jar_inside_of_pyspark_is_named(components: list[dict[str, Any]]) -> None:
    (pyspark,) = (component for component in components if component["name"] == "pyspark")
    carried = {component["bom-ref"].removeprefix("pyspark/jars/"): component for component in pyspark["components"]}
    folder = Path(str(files("pyspark"))) / "jars"
    assert carried.keys() == {path.relative_to(folder).as_posix() for path in folder.rglob("*.jar")}
    assert len(carried) > 300
    for name in ("guava", "avro"):
        ((place, jar),) = ((place, jar) for place, jar in carried.items() if jar["name"] == name)
        assert jar["purl"] == f"pkg:maven/{jar['group']}/{name}@{jar['version']}?type=jar"
        assert jar["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256((folder / place).read_bytes()).hexdigest()}]
    assert all(jar["version"][0].isdigit() and "_2.13" not in jar["version"] for jar in carried.values())
    shaded = {(inner["group"], inner["name"]) for jar in carried.values() for inner in jar["components"]}
    assert ("com.fasterxml.jackson.core", "jackson-databind") in shaded, "what Hadoop's client has inside of it"


def test_the_command_writes_the_same_to_standard_output(components: list[dict[str, Any]]) -> None:
    run = subprocess.run([sys.executable, "-m", "deploy.supply.sbom"], cwd=Path(ROOT), check=True, capture_output=True, text=True)
    assert json.loads(run.stdout)["components"] == components
