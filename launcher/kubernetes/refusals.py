"""What it means for a command that the API server does not take its Job."""

import re

from launcher.errors import BackendBusy, BackendUnavailable, CommandUnfit, LauncherError
from launcher.kubernetes.api import ApiRefused, Conflict, NotFound

_NO_RIGHT = re.compile(r'cannot \w+ resource "')
_ENDING = re.compile(r"because it is being terminated")


def refused_job(refusal: ApiRefused, namespace: str) -> LauncherError:
    """The error for a Job that was not taken.

    What one tenant's namespace refuses is said of that command alone, so that nobody waits behind it: for want of room it is tried again
    later, by the control plane, which has the table of error classes; else that is its end. What the launcher may not do at all is its
    operator's to mend: commands wait for that, and none is lost.
    """
    words = str(refusal)
    if isinstance(refusal, Conflict):
        return BackendBusy(f"others change the quota of namespace {namespace!r} at the same time: {words}")
    if isinstance(refusal, NotFound) or _ENDING.search(words):
        return CommandUnfit("NO_NAMESPACE", f"the tenant's namespace {namespace!r} is not there: {words}")
    if refusal.status == 403 and _NO_RIGHT.search(words):
        return BackendUnavailable(f"the launcher lacks a right in namespace {namespace!r}; grant what `contracts/access.py` lists: {words}")
    if "exceeded quota" in words:
        return CommandUnfit("QUOTA_EXCEEDED", f"the quota of the tenant's namespace takes no more Jobs: {words}")
    return CommandUnfit("JOB_REFUSED", f"the cluster refuses the run's Job: {words}")
