"""Two runs of one attempt: the second is refused before it writes."""

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.platform import Platform, wait_for


def test_second_driver_is_refused_before_it_writes(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text("k,v\n" + "".join(f"k{i % 7},{i}\n" for i in range(200_000)))
    platform.cli("ingest", "two_runs", "v1", str(file))
    query = "SELECT k, count(*) AS n FROM source LATERAL VIEW explode(sequence(1, 50)) t AS x WHERE v + x > 3 GROUP BY k"
    process = platform.post(entity_id="two_runs", data_version="v1", action="sql", parameters={"query": query})
    platform.wait(process["id"], "running")

    first = platform.driver(process["id"])
    command = Path(first.environ()["STRATUM_JOB_FOLDER"]) / "command.json"
    second = subprocess.run(
        [sys.executable, "-m", "spark_jobs", "run", "--command", str(command)],
        env={**os.environ, **first.environ()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert second.returncode == 3, second.stdout + second.stderr
    assert "another run" in (second.stdout + second.stderr).lower()
    done = platform.wait(process["id"])
    assert done["state"] == "succeeded", done["reason"]
    assert len(done["attempts"]) == 1
    platform.assert_sealed_exactly(done)
    granted = done["attempts"][0]["run_id"]
    dataset = done["artifacts"][0]["manifest"].rsplit("/", 1)[0] + "/"
    prefix = dataset.removeprefix("s3://").partition("/")[2]
    folders = {key.removeprefix(prefix).split("/")[0] for key in platform.keys(dataset)}
    assert folders == {granted, "_manifest.json"}


def test_cancel_ends_the_driver(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text("k,v\n" + "".join(f"k{i % 7},{i}\n" for i in range(200_000)))
    platform.cli("ingest", "cancelled", "v1", str(file))
    query = "SELECT k, count(*) AS n FROM source LATERAL VIEW explode(sequence(1, 2000)) t AS x WHERE v + x > 3 GROUP BY k"
    process = platform.post(entity_id="cancelled", data_version="v1", action="sql", parameters={"query": query})
    platform.wait(process["id"], "running")
    driver = platform.driver(process["id"])

    platform.json("cancel", process["id"])

    done = platform.wait(process["id"], "cancelled")
    wait_for(lambda: not driver.is_running(), 60, lambda: "the driver to end")
    assert platform.history(process["id"]) == ["accepted", "queued", "running", "cancelling", "cancelled"]
    assert done["artifacts"] == []
    # the name is free again, and a retry is a new process
    retried = platform.json("retry", process["id"])
    assert retried["id"] != process["id"]
    assert retried["retry_of"] == process["id"]
    platform.json("cancel", retried["id"])
    platform.wait(retried["id"], "cancelled")
