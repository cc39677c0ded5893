"""The main job on a cluster: from the in-cluster API to sealed Parquet, with executors of its own."""

import io

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.cluster.release import JOBS, Release
from tests.cluster.runs import VERSION
from tests.e2e.platform import wait_for

pytestmark = pytest.mark.cluster

TWO_EXECUTORS = {"driver_cores": 1, "driver_memory": "1g", "executor_instances": 2, "executor_cores": 1, "executor_memory": "1g"}
MEASURES = [{"function": "count", "name": "flights"}, {"function": "avg", "column": "dep_delay", "name": "mean_delay"}]


@pytest.fixture(scope="module")
def aggregated(release: Release, flights: str) -> dict[str, object]:
    process = release.post(
        entity_id=flights,
        data_version=VERSION,
        action="aggregate",
        parameters={"group_by": ["carrier", "month"], "measures": MEASURES},
        output_dataset="by_carrier_and_month",
        resource_profile=TWO_EXECUTORS,
    )
    release.await_pods(process["id"], "executor", 2)
    done = release.wait(process["id"])
    assert done["state"] == "succeeded", done["reason"]
    return dict(done)


def test_history(release: Release, aggregated: dict[str, object]) -> None:
    types = [event["type"] for event in release.events(str(aggregated["id"])) if event["type"] not in ("pending", "waiting")]
    assert types in (
        ["accepted", "queued", "submitted", "running", "sealing", "succeeded"],
        ["accepted", "queued", "running", "sealing", "succeeded"],  # the pod was faster than the news of its Job
    )


def test_manifest_and_files(release: Release, aggregated: dict[str, object]) -> None:
    process = release.get(str(aggregated["id"]))
    release.assert_sealed_exactly(process)
    manifest = release.manifest(process["artifacts"][0])
    assert manifest["rows"] == 185
    assert manifest["image"].endswith("stratum/spark:dev")
    assert process["metrics"]["rows_in"] == 336_776


def test_result_is_that_of_the_flights(release: Release, flights: str, aggregated: dict[str, object]) -> None:
    result = _table(release, flights, "by_carrier_and_month")
    source = _table(release, flights, "source")
    expected = source.group_by(["carrier", "month"]).aggregate([([], "count_all"), ("dep_delay", "mean")])
    order = [("carrier", "ascending"), ("month", "ascending")]
    result, expected = result.sort_by(order), expected.sort_by(order)
    assert result["flights"].to_pylist() == expected["count_all"].to_pylist()
    differences = pc.abs(pc.subtract(result["mean_delay"].cast(pa.float64()), expected["dep_delay_mean"]))
    assert pc.max(differences).as_py() < 1e-9


def test_nothing_runs_afterwards(release: Release, aggregated: dict[str, object]) -> None:
    selector = f"stratum.dev/process-id={aggregated['id']}"
    wait_for(
        lambda: all(pod["status"]["phase"] in ("Succeeded", "Failed") for pod in release.cluster.items("pods", JOBS, selector)),
        90,
        lambda: "the pods to end",
    )


def test_logs_outlive_the_pod(release: Release, aggregated: dict[str, object]) -> None:
    process_id = str(aggregated["id"])
    release.cluster.kubectl("delete", "jobs", "-n", JOBS, "-l", f"stratum.dev/process-id={process_id}")
    release.cluster.run_out(JOBS, f"stratum.dev/process-id={process_id}")
    assert '"event": "finished"' in release.cli("logs", process_id).stdout
    assert release.get(process_id)["state"] == "succeeded"


def _table(release: Release, entity: str, dataset: str) -> pa.Table:
    with release.http as http:
        document = http.get(f"/v1/entities/{entity}/versions/{VERSION}/datasets/{dataset}").json()
    return pa.concat_tables(pq.read_table(io.BytesIO(httpx.get(each["url"]).content)) for each in document["urls"])
