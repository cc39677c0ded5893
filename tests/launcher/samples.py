"""Commands to test with."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from contracts.command import Command, ResourceProfile
from contracts.identifiers import new_id
from contracts.sizing import Resources
from launcher.job import JobSpec

T = TypeVar("T")

RESOURCES = Resources(
    driver_cores=1, driver_memory="1g", executor_instances=1, executor_cores=2, executor_memory="2g", shuffle_partitions=1
)


def a_command(parameters: dict[str, Any] | None = None, **changes: Any) -> Command:
    document: dict[str, Any] = {
        "message_id": str(new_id()),
        "tenant": "acme",
        "process_id": str(new_id()),
        "step": 0,
        "attempt": 1,
        "entity_id": "cust_8842",
        "data_version": "v2024.10.05",
        "action": "aggregate_revenue",
        "parameters": parameters or {},
        "action_revision": "sha256:" + "0" * 64,
        "image": "stratum-spark@sha256:" + "1" * 64,
        "entry_point": "spark_jobs",
        "inputs": [
            {
                "view": "source",
                "data_version": "v2024.10.05",
                "dataset": "source",
                "manifest_sha256": "sha256:" + "2" * 64,
                "bytes": 1000,
                "rows": 10,
            }
        ],
        "output": {"data_version": "v2024.10.05", "dataset": "aggregate_revenue"},
        "storage_root": "s3://stratum",
        "callback_url": "http://127.0.0.1:1/v1/processes/callback",
        "start_before": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        "time_limit_seconds": 60,
        "flow_token": "secret-token",
    }
    return Command.model_validate(document | changes)


def a_spec(parameters: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    return JobSpec.of(a_command(parameters, **changes), RESOURCES)


def with_inputs_of(command: Command, *sizes: int, asked: ResourceProfile | None = None) -> Command:
    inputs = tuple(command.inputs[0].model_copy(update={"view": f"view{n}", "bytes": size}) for n, size in enumerate(sizes))
    return command.model_copy(update={"inputs": inputs, "resource_profile": asked})


def eventually(look: Callable[[], T | None], what: str, timeout: float = 15.0) -> T:
    """What `look` gives once it gives something."""
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for {what}"
        time.sleep(0.02)
