"""The jars that PySpark carries inside of its own package, as CycloneDX components below it.

A jar that Maven built says in `pom.properties` what it is, and so does each library that was shaded into it. Those of sbt and others
say nothing: they go by the name of their file, and by their hash as all do.
"""

import hashlib
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zipfile import ZipFile

from stratum.local.ivy import Coordinates

_FILE_NAME = re.compile(r"(?P<name>.+?)-(?P<version>\d(?!.*_2\.13).*)")  # sbt puts a version of Scala into a name
_PROPERTIES = re.compile(r"META-INF/maven/[^/]+/[^/]+/pom\.properties")
_KEYS = {"groupId", "artifactId", "version"}


def bundled_jars() -> list[dict[str, Any]]:
    """A component for each jar of the PySpark that is installed. Raises `RuntimeError` when there is none."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise RuntimeError("PySpark is not installed here, and only its package tells which jars it carries: run `make sbom`.")
    folder = Path(spec.origin).parent / "jars"
    return [_component(path, path.relative_to(folder).as_posix()) for path in sorted(folder.rglob("*.jar"))]


def purl_of(at: Coordinates) -> str:
    """The package URL of a jar: github.com/package-url/purl-spec, type `maven`."""
    qualifiers = f"classifier={quote(at.classifier)}&type=jar" if at.classifier else "type=jar"
    return f"pkg:maven/{quote(at.group)}/{quote(at.name)}@{quote(at.version)}?{qualifiers}"


def _component(path: Path, place: str) -> dict[str, Any]:
    with ZipFile(path) as jar:
        said = set(_said(jar))
    itself = [at for at in said if path.stem.startswith(f"{at.name}-{at.version}")]
    component = _named(itself[0]) if len(itself) == 1 else _unnamed(path.stem)
    shaded = sorted(said.difference(itself))
    return {
        **component,
        "bom-ref": f"pyspark/jars/{place}",
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
        "components": [{**_named(at), "bom-ref": f"pyspark/jars/{place}#{at}"} for at in shaded],
    }


def _said(jar: ZipFile) -> Iterator[Coordinates]:
    for name in filter(_PROPERTIES.fullmatch, jar.namelist()):
        lines = jar.read(name).decode("utf-8", "replace").splitlines()
        found = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
        if found.keys() >= _KEYS:
            yield Coordinates(found["groupId"], found["artifactId"], found["version"])


def _named(at: Coordinates) -> dict[str, Any]:
    return {"type": "library", "group": at.group, "name": at.name, "version": at.version, "purl": purl_of(at)}


def _unnamed(stem: str) -> dict[str, Any]:
    parts = _FILE_NAME.fullmatch(stem)
    name, version = (parts["name"], parts["version"]) if parts else (stem, "")
    return {"type": "library", "name": name, "version": version, "purl": f"pkg:generic/{quote(name)}@{quote(version)}"}
