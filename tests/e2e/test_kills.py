"""`kill -9` of each part in turn, during a run: the process ends rightly, with one manifest and its files exactly."""

import os
import signal

import psutil
import pytest

from tests.e2e.platform import Platform, wait_for

QUERY = "SELECT k, count(*) AS n, sum(v) AS total FROM source WHERE v > {n} GROUP BY k"  # a run of seconds, whatever it computes
WHOLE = ["accepted", "queued", "running", "sealing", "succeeded"]


@pytest.fixture(scope="module")
def own(doomed: Platform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    file = tmp_path_factory.mktemp("data") / "numbers.csv"
    file.write_text("k,v\n" + "".join(f"k{i % 7},{i}\n" for i in range(2_000)))
    doomed.cli("ingest", "kills", "v1", str(file))
    return doomed


def start(own: Platform, name: str, n: int) -> str:
    query = QUERY.format(n=n)
    process = own.post(entity_id="kills", data_version="v1", action="sql", parameters={"query": query}, output_dataset=name)
    return str(process["id"])


def kill(pid: int) -> None:
    """`kill -9`, and see it dead."""
    victim = psutil.Process(pid)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE, 10, lambda: f"the death of {pid}")


@pytest.mark.parametrize("part", ["api", "relay", "reconcile", "webhooks", "launcher", "postgres", "kafka", "s3"])
def test_part_killed_during_a_run(own: Platform, part: str) -> None:
    pid = own.up()["pids"][part]
    process_id = start(own, f"killed_{part}", len(part))
    own.wait(process_id, "running")

    kill(pid)
    done = own.wait(process_id)

    assert done["state"] == "succeeded", done["reason"]
    own.assert_sealed_exactly(done)
    retries = len(done["attempts"]) - 1
    # only the object store's death may cost a run; it is then tried again, and says so
    assert retries == 0 or part == "s3"
    retry = ["retrying", "queued", "running"]
    assert own.history(process_id) == WHOLE[:3] + retry * retries + WHOLE[3:]
    assert own.up()["pids"][part] != pid


@pytest.mark.slow  # tests/chaos does so without Spark
@pytest.mark.parametrize("part", ["relay", "launcher", "kafka"])
def test_part_killed_before_the_run(own: Platform, part: str) -> None:
    pid = own.up()["pids"][part]
    kill(pid)
    process_id = start(own, f"before_{part}", 100 + len(part))

    done = own.wait(process_id)

    assert done["state"] == "succeeded", done["reason"]
    assert len(done["attempts"]) == 1
    assert own.history(process_id) == WHOLE
    own.assert_sealed_exactly(done)


def test_driver_killed_is_tried_again(own: Platform) -> None:
    own.up()
    process_id = start(own, "killed_driver", 77)
    own.wait(process_id, "running")
    driver = own.driver(process_id)

    kill(driver.pid)
    done = own.wait(process_id)

    assert done["state"] == "succeeded", done["reason"]
    assert [attempt["state"] for attempt in done["attempts"]] == ["lost", "succeeded"] or [
        attempt["state"] for attempt in done["attempts"]
    ] == ["failed", "succeeded"]
    assert own.history(process_id) == ["accepted", "queued", "running", "retrying", "queued", "running", "sealing", "succeeded"]
    first, second = (attempt["run_id"] for attempt in done["attempts"])
    assert first != second
    assert second in done["artifacts"][0]["location"]
    own.assert_sealed_exactly(done)
