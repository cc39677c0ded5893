"""How a Job ended, and what that means. Pure functions of what the cluster says.

The Job's conditions are enough to tell success from failure, and mostly why; its pod, where it is still there, tells more.
"""

import re
import signal
from datetime import UTC, datetime
from typing import Final

from launcher.exit_meaning import last_words, meaning_of_exit
from launcher.job import Ended, EndOutcome
from launcher.kubernetes import names
from launcher.kubernetes.containers import Document
from launcher.kubernetes.marks import resources_of, time_limit_of
from launcher.kubernetes.reasons import condition, waiting_for
from launcher.kubernetes.wish import end_wish

_EXIT_CODE = re.compile(r"failed with exit code (\d+)")
_DISRUPTED = re.compile(r"has condition DisruptionTarget")
_DISRUPTIONS: Final = {
    "PreemptionByScheduler": "its place was needed for a pod of higher priority",
    "DeletionByTaintManager": "its node was tainted, as happens to nodes that fail or are taken away",
    "EvictionByEvictionAPI": "its node is being drained",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node ran short of something, or was shut down",
}
_FROM_OUTSIDE: Final = (128 + signal.SIGKILL, 128 + signal.SIGTERM)


def is_final(job: Document) -> bool:
    """Whether nothing of the Job runs any more, nor will."""
    return _true(job, "Complete") or _true(job, "Failed") or _never_admitted(job)


def is_ending(job: Document) -> bool:
    """Whether the end of the Job is decided, though its pod may still be going."""
    return _true(job, "SuccessCriteriaMet") or _true(job, "FailureTarget") or end_wish(job) is not None


def has_started(pod: Document | None) -> bool:
    """Whether the driver's container was started, however it fared since."""
    statuses = (pod or {}).get("status", {}).get("containerStatuses", ())
    driver = next((each for each in statuses if each["name"] == names.DRIVER), None)
    if driver is None:
        return False
    state = driver.get("state", {})
    return "running" in state or state.get("terminated", {}).get("startedAt") is not None


def ended(job: Document, pod: Document | None) -> Ended:
    """The end of a Job that `is_final`. `pod`: its pod as it was last seen, if it was."""
    driver = _terminated(pod)
    if _true(job, "Complete"):
        return Ended("completed", 0, "the driver ended by itself", _at(job))
    code = _exit_code(job, driver)
    wish = end_wish(job)
    if wish is not None:
        return Ended(wish.outcome, code, wish.reason, wish.at if _never_admitted(job) else _at(job))
    if (pod or {}).get("status", {}).get("reason") == "DeadlineExceeded" and not has_started(pod):
        # the kubelet counts from when it took the pod: the image, a Secret or a volume came too late
        late = f"the driver was not started within its time limit of {time_limit_of(job)} s: {waiting_for(job, pod, ())}"
        return Ended("vanished", None, late, _at(job))
    outcome, message = _meaning(job, pod, driver, code)
    return Ended(outcome, code, message, _at(job))


def _never_admitted(job: Document) -> bool:
    """Suspended jobs do not age, so a deadline never ends them; with a wish to end, and out of their queue, they are over."""
    status = job.get("status", {})
    return bool(job["spec"].get("suspend")) and end_wish(job) is not None and not status.get("active") and not status.get("terminating")


def _meaning(job: Document, pod: Document | None, driver: Document, code: int | None) -> tuple[EndOutcome, str]:
    limit = time_limit_of(job)
    status = (pod or {}).get("status", {})
    tail = driver.get("message", "")
    if status.get("reason") == "DeadlineExceeded" or (pod is None and code in _FROM_OUTSIDE and _seconds(job) >= limit):
        return "time_limit", f"the run took longer than its time limit of {limit} s and was ended"
    if driver.get("reason") == "OOMKilled":
        return meaning_of_exit(
            code, tail, resources_of(job), "the driver took more memory than its pod may have and was killed (OOMKilled)"
        )
    disruption = _disruption(job, pod)
    if disruption is not None:
        return "evicted", f"the driver's pod was evicted: {disruption}"
    if _deleted(pod) or (pod is None and (code is None or code in _FROM_OUTSIDE)):
        return "evicted", f"the driver's pod was deleted, not by Stratum{last_words(tail)}"
    failed = condition(job, "Failed") or {}
    if failed.get("reason") == "DeadlineExceeded":
        return "killed", "the Job was given a deadline by somebody else, and ended with it"
    if code is None:
        return "vanished", f"the driver ended without an exit code: {failed.get('message') or status.get('message') or 'nobody says why'}"
    return meaning_of_exit(code, tail, resources_of(job))


def _disruption(job: Document, pod: Document | None) -> str | None:
    """Why the cluster took the pod away, if it did."""
    status = (pod or {}).get("status", {})
    if status.get("reason") in ("Evicted", "Preempting", "NodeLost", "Shutdown", "Terminated"):
        return str(status.get("message") or status["reason"]).strip()
    target = condition(pod or {}, "DisruptionTarget")
    if target is not None and target["status"] == "True":
        return _DISRUPTIONS.get(target.get("reason", ""), target.get("message") or target.get("reason", "the cluster does not say why"))
    if pod is None and _DISRUPTED.search((condition(job, "Failed") or {}).get("message", "")):
        return "the cluster needed its place, or lost its node"
    return None


def _deleted(pod: Document | None) -> bool:
    return pod is not None and "deletionTimestamp" in pod["metadata"]


def _terminated(pod: Document | None) -> Document:
    """How the driver's container ended; empty when nobody knows."""
    for status in (pod or {}).get("status", {}).get("containerStatuses", ()):
        if status["name"] == names.DRIVER:
            end: Document = status.get("state", {}).get("terminated", {})
            return end
    return {}


def _exit_code(job: Document, driver: Document) -> int | None:
    if "exitCode" in driver and driver.get("reason") != "ContainerStatusUnknown":
        return int(driver["exitCode"])
    found = _EXIT_CODE.search((condition(job, "Failed") or {}).get("message", ""))
    return int(found[1]) if found else None


def _true(job: Document, kind: str) -> bool:
    found = condition(job, kind)
    return found is not None and found["status"] == "True"


def _at(job: Document) -> datetime:
    final = condition(job, "Complete") or condition(job, "Failed")
    return _time(final["lastTransitionTime"]) if final else datetime.now(UTC)


def _seconds(job: Document) -> float:
    """How long the Job took, from its first look at it to its end."""
    began = job.get("status", {}).get("startTime")
    return (_at(job) - _time(began)).total_seconds() if began else 0.0


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written)
