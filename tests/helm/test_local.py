"""What a local cluster is told to run is what was built last."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.release import Release
from tests.helm.chart import of_kind, rendered

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
STEP = """
source deploy/local/steps.sh
cluster_up() { :; }
kubectl() { case "$*" in *"get configmap stratum-$BUILT "*) printf %s "$INPUTS" ;; esac; }
helm() { printf '%s\\n' "$@"; }
step_chart
"""
"""One step of the script on a cluster whose images have a mark; prints the arguments of helm."""


def _of_the_script(built: str, inputs: str) -> list[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "BUILT": built, "INPUTS": inputs}
    done = subprocess.run(["bash", "-c", STEP], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


class _Marked(Cluster):
    """A cluster of which nothing is known but the mark of its images."""

    def __init__(self, built: str, inputs: str) -> None:
        self.name, self.inputs = f"stratum-{built}", inputs

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        return {"data": {"inputs": self.inputs}} if (kind, name, namespace) == ("configmap", self.name, "default") else None


def _of_the_tests(built: str, inputs: str) -> list[str]:
    return Release(_Marked(built, inputs), 19000).settings()


@pytest.mark.parametrize("built", ["images", "test-images"])
@pytest.mark.parametrize("arguments", [_of_the_script, _of_the_tests])
def test_new_images_replace_every_pod(arguments: Any, built: str) -> None:
    """They have the same tag as those before: what tells them apart must be in the pods."""

    def templates(inputs: str) -> dict[str, str]:
        given = arguments(built, inputs)
        texts = tuple(value for option, value in pairwise(given) if option == "--set-string")
        deployments = of_kind(rendered("dev", texts=texts), "Deployment")
        return {each["metadata"]["name"]: json.dumps(each["spec"]["template"]) for each in deployments}

    before, again, after = templates("a1"), templates("a1"), templates("b2")
    assert before == again
    assert len(before) == 6
    assert all(before[name] != after[name] for name in before)


@pytest.mark.parametrize("arguments", [_of_the_script, _of_the_tests])
def test_images_of_unknown_sources_are_installed_too(arguments: Any) -> None:
    given = arguments("nothing", "")
    rendered("dev", texts=tuple(value for option, value in pairwise(given) if option == "--set-string"))
