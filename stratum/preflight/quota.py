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


def asks_for_limits(quotas: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a quota counts processor limits: then each container must have one, and runs set none."""
    return any("limits.cpu" in quota["hard"] for quota in quotas)


def judge(quotas: Sequence[Mapping[str, Any]], needs: Needs, namespace: str, limits: Sequence[Mapping[str, Any]] | None = ()) -> Finding:
    """Judge the quotas of a namespace: by the smallest profile, and then whether any other finds no room even where nothing runs.

    Args:
        quotas: each with `name`, `hard` and `used`, as the API server writes them.
        limits: each `type` and `default` of the namespace's LimitRanges; None: nobody may read them.
    """
    if not asks_for_limits(quotas):
        return _judge_all(quotas, needs, namespace)
    if limits is None:
        found = _judge_all(quotas, needs, namespace)
        return found if found.status == "fail" else _not_looked_at(namespace)
    given = [parse_quantity(limit["default"]["cpu"]) for limit in limits if limit["type"] == "Container" and "cpu" in limit["default"]]
    if not given:
        return failed(
            f"{namespace}: no run can ever start: a quota counts limits.cpu, runs set no processor limit, and no LimitRange gives one",
            "Give a default for cpu by a LimitRange (chart: tenants[].limits), or take limits.cpu out of the ResourceQuota.",
        )
    # each container has it: one in each pod, and the log sidecar
    limited = {name: {**needed, "limits.cpu": min(given) * (needed["pods"] + 1)} for name, needed in needs.items()}
    return _judge_all(quotas, limited, namespace)


def _not_looked_at(namespace: str) -> Finding:
    return warned(
        f"{namespace}: a quota counts limits.cpu, and runs set no processor limit; not looked at: whether a LimitRange gives one",
        f"kubectl get limitranges -n {namespace} -o yaml must show default.cpu for type Container; without it no run starts, "
        "and the check of the tenant's pod fails too.",
    )


def _judge_all(quotas: Sequence[Mapping[str, Any]], needs: Needs, namespace: str) -> Finding:
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
