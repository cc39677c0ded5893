"""Whether a run fits into the quotas of its namespace."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from contracts.catalog import Profile
from contracts.command import mebibytes
from stratum.preflight.finding import Finding, failed, passed, warned
from stratum.preflight.places import PlacesFile

_MEBIBYTE = 1 << 20
_SIDECAR_MEMORY = 128 * _MEBIBYTE
Needs = Mapping[str, Mapping[str, Decimal]]
"""What the smallest run of each profile takes."""


def need(profile: Profile, file: PlacesFile) -> dict[str, Decimal]:
    """What the smallest run of a profile takes: a driver with its log sidecar, and the fewest executors. Cores and bytes."""
    executors = profile.executor_instances.min
    memory = _container(profile.driver_memory, file) + executors * _container(profile.executor_memory, file) + _SIDECAR_MEMORY
    cores = Decimal(str(file.cpu_request_ratio)) * (profile.driver_cores + executors * profile.executor_cores)
    return {
        "pods": Decimal(1 + executors),
        "requests.cpu": cores,
        "cpu": cores,
        "requests.memory": Decimal(memory),
        "memory": Decimal(memory),
        "limits.memory": Decimal(memory),
        "count/jobs.batch": Decimal(1),
        "count/pods": Decimal(1 + executors),
        "secrets": Decimal(1),
        "count/secrets": Decimal(1),
    }


def _container(heap: str, file: PlacesFile) -> int:
    overhead = file.memory_overhead
    return (mebibytes(heap) + max(mebibytes(overhead.min), math.ceil(mebibytes(heap) * overhead.factor))) * _MEBIBYTE


def judge(quotas: Sequence[Mapping[str, Any]], needs: Needs, namespace: str) -> Finding:
    """Judge the quotas of a namespace: by the smallest profile, and then whether any other finds no room even where nothing runs.

    Args:
        quotas: each with `name`, `hard` and `used`, as the API server writes them.
    """
    found = _judge(quotas, min(needs.values(), key=lambda needed: needed["memory"]), namespace)
    if found.status != "pass":
        return found
    too_large = []
    for profile, needed in sorted(needs.items()):
        missing = [
            f"{resource} {_amount(resource, amount)} of {quota['hard'][resource]}"
            for quota in quotas
            for resource, amount in needed.items()
            if resource in quota["hard"] and parse_quantity(quota["hard"][resource]) < amount
        ]
        too_large += [f"{profile} needs {', '.join(missing)}"] if missing else []
    if too_large:
        return warned(
            f"{namespace}: no run of some profiles can ever start: {'; '.join(too_large)}",
            "Raise the ResourceQuota of the namespace, if its tenant is to use actions of these profiles.",
        )
    return found


def _judge(quotas: Sequence[Mapping[str, Any]], needed: Mapping[str, Decimal], namespace: str) -> Finding:
    never, not_now, said = [], [], []
    for quota in quotas:
        if "limits.cpu" in quota["hard"]:
            never.append(f"{quota['name']} limits limits.cpu, and runs set no processor limit")
        for resource, amount in needed.items():
            if resource not in quota["hard"]:
                continue
            hard, used = parse_quantity(quota["hard"][resource]), parse_quantity(quota["used"].get(resource, "0"))
            words = f"{resource}: {quota['used'].get(resource, '0')} of {quota['hard'][resource]} used"
            said.append(words)
            if hard < amount:
                never.append(f"{words}, the smallest run needs {_amount(resource, amount)}")
            elif hard - used < amount:
                not_now.append(f"{words}, the smallest run needs {_amount(resource, amount)}")
    if never:
        return failed(
            f"{namespace}: no run can ever start: {'; '.join(never)}", "Raise the ResourceQuota of the namespace, or lower the profile."
        )
    if not_now:
        return warned(f"{namespace}: runs wait until others end: {'; '.join(not_now)}", "Raise the ResourceQuota of the namespace.")
    return passed(f"{namespace}: {'; '.join(said) or 'no quota'}")


def _amount(resource: str, amount: Decimal) -> str:
    return f"{amount / _MEBIBYTE:.0f}Mi" if "memory" in resource else f"{amount.normalize():f}"
