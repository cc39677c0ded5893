"""`python -m deploy.supply.sbom [FILE]`: all that Stratum is made of, as CycloneDX.

Python's packages come from `uv.lock` by uv's own export, with the hash of each of their files; the jars from `jars.lock`, and those
inside of PySpark's own package, below it, from the package that the lock pins.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy.supply.bundled_jars import bundled_jars, purl_of
from stratum.local.jars import LockedJar, read_lock

ROOT = Path(__file__).parents[2]
_EXPORT = ("export", "--frozen", "--all-extras", "--all-groups", "--format", "cyclonedx1.5", "--quiet")


def sbom() -> dict[str, Any]:
    """The document: uv's, with the jars added. Raises `CalledProcessError` when uv cannot read its lock, `RuntimeError` without PySpark."""
    uv = Path(sys.executable).with_name("uv")
    export = subprocess.run([uv, *_EXPORT], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    document: dict[str, Any] = json.loads(export)
    jars = {jar.coordinates: (jar, name) for name, group in read_lock().items() for jar in group.jars}
    (pyspark,) = (component for component in document["components"] if component["name"] == "pyspark")
    pyspark["components"] = bundled_jars()
    document["components"] += [_component(jar, group) for jar, group in (jars[key] for key in sorted(jars))]
    return document


def _component(jar: LockedJar, group: str) -> dict[str, Any]:
    purl = purl_of(jar.coordinates)
    return {
        "type": "library",
        "bom-ref": purl,
        "group": jar.coordinates.group,
        "name": jar.coordinates.name,
        "version": jar.coordinates.version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": jar.sha256}],
        "properties": [{"name": "stratum:jars:file", "value": jar.file}, {"name": "stratum:jars:group", "value": group}],
    }


def main(arguments: list[str]) -> None:
    """Write it to the file that is named, or to standard output."""
    text = json.dumps(sbom(), indent=2) + "\n"
    if arguments:
        Path(arguments[0]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
