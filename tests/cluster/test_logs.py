"""The log of a run, followed while it is written."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.release import NAME, NAMESPACE, Release
from tests.cluster.runs import await_running, start
from tests.e2e.platform import wait_for

pytestmark = pytest.mark.cluster


@pytest.mark.slow
def test_followed_from_any_replica(release: Release, flights: str) -> None:
    """Whichever replica is asked while the run goes on tells all of it, and ends when the run does. This machine must be a node."""
    release.cluster.kubectl("scale", "-n", NAMESPACE, f"deployment/{NAME}-api", "--replicas=2")
    release.await_ready("api")
    wait_for(lambda: len(release.pods("api")) == 2, 60, lambda: "two replicas of the API")
    process_id = start(release, flights, "followed", seconds=15)
    await_running(release, process_id)
    replicas = [release.at(f"http://{pod['status']['podIP']}:8080") for pod in release.pods("api")]
    with ThreadPoolExecutor() as pool:
        followers = [pool.submit(replica.cli, "logs", "-f", process_id) for replica in replicas]
        assert release.get(process_id)["state"] == "running"
    first, second = (follower.result() for follower in followers)
    assert first.stdout == second.stdout
    assert '"event": "finished"' in first.stdout
    assert all(each.stderr.startswith("succeeded") for each in (first, second))
    release.cluster.kubectl("scale", "-n", NAMESPACE, f"deployment/{NAME}-api", "--replicas=1")
    wait_for(lambda: len(release.pods("api")) == 1, 120, lambda: "one replica of the API")
    release.await_answer()
