"""Runs of the action that misbehaves as it is told, and what is asserted of them."""

from typing import Any

from tests.chaos.histories import misplaced
from tests.cluster.release import Release

VERSION = "v2013.12.31"
"""Of the flights."""
PASSING = ("submitted", "pending", "waiting", "silent", "unwatched")
"""Remarks that depend on who is faster."""
WHOLE = ["accepted", "queued", "running", "sealing", "succeeded"]
AGAIN = ["accepted", "queued", "running", "retrying", "queued", "running", "sealing", "succeeded"]


def start(release: Release, entity: str, name: str, executors: int = 1, **parameters: object) -> str:
    """Start the action that misbehaves as it is told."""
    profile = {"driver_memory": "512m", "executor_memory": "512m", "executor_instances": executors, "executor_cores": 1}
    process = release.post(
        entity_id=entity, data_version=VERSION, action="misbehave", parameters=parameters, output_dataset=name, resource_profile=profile
    )
    return str(process["id"])


def history(release: Release, process_id: str) -> list[str]:
    """The types of its events but those of `PASSING`, which must be in their places all the same."""
    types = [event["type"] for event in release.events(process_id)]
    assert misplaced(types) == [], types
    return [kind for kind in types if kind not in PASSING]


def remarks(release: Release, process_id: str) -> str:
    """All that the process said about itself."""
    return "\n".join(str(event.get("data", event)) for event in release.events(process_id))


def assert_succeeded(release: Release, process_id: str, *expected: list[str]) -> dict[str, Any]:
    process = release.wait(process_id, "succeeded", seconds=280)
    assert history(release, process_id) in expected
    release.assert_sealed_exactly(process)
    release.assert_nothing_left(process_id)
    return process


def assert_failed(release: Release, process_id: str, expected: list[str]) -> dict[str, Any]:
    process = release.wait(process_id, "failed", seconds=280)
    assert history(release, process_id) == expected
    assert process["artifacts"] == []
    release.assert_nothing_left(process_id)
    return process


def await_running(release: Release, process_id: str) -> dict[str, Any]:
    """Wait until the run was granted, and return its driver pod."""
    release.wait(process_id, "running")
    return release.await_pods(process_id, "driver")[0]
