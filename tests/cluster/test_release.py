"""The life of a release: its catalog changes, it is upgraded, rolled back, checked, uninstalled and installed again, and loses nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.cluster import ROOT
from tests.cluster.release import CHART, NAME, NAMESPACE, Release
from tests.cluster.runs import VERSION, WHOLE, assert_succeeded, start
from tests.e2e.platform import wait_for

pytestmark = pytest.mark.cluster

ROLES = ("api", "relay", "reconcile", "webhooks", "submit", "observe")
PRIORITY = "stratum-test-low"


@pytest.fixture(scope="module")
def sealed(release: Release, flights: str) -> dict[str, Any]:
    """A process of before the changes."""
    process = release.post(
        entity_id=flights, data_version=VERSION, action="filter", parameters={"condition": "distance > 4000"}, output_dataset="far"
    )
    return release.wait(process["id"], "succeeded")


def test_an_own_action_comes_without_a_restart(release: Release, flights: str, sealed: dict[str, Any], tmp_path: Path) -> None:
    before = _pods(release)
    own = yaml.safe_load((ROOT / "deploy" / "examples" / "own-action" / "catalog.yaml").read_text())
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"catalog": {"files": {"own.yaml": own}}}))
    _upgrade(release, "-f", str(tmp_path / "own.yaml"))
    # a kubelet looks at a pod's volumes once a minute, and when the pod changes
    release.cluster.kubectl("annotate", "pods", "--all", "-n", NAMESPACE, f"tests.stratum.dev/looked-at={tmp_path.name}", "--overwrite")
    wait_for(lambda: "top_values" in _actions(release), 180, lambda: "the action to be known")
    process = release.post(
        entity_id=flights,
        data_version=VERSION,
        action="top_values",
        parameters={"by": "distance", "within": ["origin"], "most": 3},
        output_dataset="top_values",
    )
    done = release.wait(process["id"])
    assert done["state"] == "succeeded", done["reason"]
    assert done["metrics"]["rows_out"] == 9
    assert _pods(release) == before


def test_upgrade_and_rollback_keep_everything(release: Release, sealed: dict[str, Any]) -> None:
    before = _pods(release)
    revision = json.loads(release.cluster.helm("history", NAME, "-n", NAMESPACE, "-o", "json").stdout)[-1]["revision"]
    _upgrade(release, "--set", "relay.maxInFlight=150")
    assert _pods(release)["relay"] != before["relay"]
    assert release.get(sealed["id"]) == sealed
    release.cluster.helm("rollback", NAME, str(revision), "-n", NAMESPACE, "--wait", "--wait-for-jobs", "--timeout", "10m")
    release.await_answer()
    assert release.get(sealed["id"]) == sealed
    release.assert_sealed_exactly(sealed)


@pytest.mark.slow
def test_executors_come_when_there_is_work(release: Release, flights: str) -> None:
    """`runs.executorAllocation: dynamic`, and all pods of a run with `runs.priorityClass`."""
    release.cluster.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": PRIORITY}, "value": -1})
    _upgrade(release, "--set", f"runs.executorAllocation=dynamic,runs.priorityClass={PRIORITY}")
    process_id = start(release, flights, "as_needed", executors=2, tasks=4, seconds=10)
    executors = release.await_pods(process_id, "executor", 2)
    drivers = release.run_pods(process_id, "driver")
    assert_succeeded(release, process_id, WHOLE)
    assert [pod["spec"]["priorityClassName"] for pod in [*drivers, *executors]] == [PRIORITY] * 3
    began, came = sorted(pod["metadata"]["creationTimestamp"] for pod in executors)
    assert began < came, "one is there from the beginning, the other when it has too much to do"


def test_the_releases_own_checks(release: Release) -> None:
    # they find an image that does not exist, too; here all should be well
    _upgrade(release, "--set-json", r"catalog.files.no_image\.yaml.actions=[]")
    tested = release.cluster.helm("test", NAME, "-n", NAMESPACE, "--logs", "--timeout", "8m", check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert '"fail": 0' in tested.stdout


def test_uninstalled_and_installed_again(release: Release, sealed: dict[str, Any]) -> None:
    release.cluster.helm("uninstall", NAME, "-n", NAMESPACE, "--wait", "--timeout", "5m")
    release.cluster.run_out(NAMESPACE, f"app.kubernetes.io/instance={NAME}", "--field-selector=status.phase!=Succeeded")
    release.install()
    release.await_answer()
    assert release.get(sealed["id"]) == sealed
    release.assert_sealed_exactly(sealed)


def _upgrade(release: Release, *more: str) -> None:
    arguments = [*release.settings(), *more, "--wait", "--wait-for-jobs", "--timeout", "10m"]
    release.cluster.helm("upgrade", NAME, str(CHART), "-n", NAMESPACE, *arguments)
    release.await_answer()


def _actions(release: Release) -> list[str]:
    with release.http as http:
        return [action["name"] for action in http.get("/v1/actions").json()["items"]]


def _pods(release: Release) -> dict[str, set[tuple[str, int]]]:
    """Of each role, its pods and how often they were restarted."""
    return {
        role: {(pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in release.pods(role)}
        for role in ROLES
    }
