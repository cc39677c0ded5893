"""What it means for a command that the API server does not take its Job."""

import re

from launcher.errors import BackendBusy, CommandUnfit, LauncherError
from launcher.kubernetes.api import ApiRefused, Conflict, NotFound, WebhookFailed

_NO_RIGHT = re.compile(r'cannot \w+ resource "')
_FULL = re.compile(r"exceeded quota|insufficient quota to consume|status unknown for quota")
"""The last: the quota is so new that the cluster has not counted yet what is used of it."""
_ENDING = re.compile(r"because it is being terminated")


def refused_job(refusal: ApiRefused, namespace: str) -> LauncherError:
    """The error for a Job that was not taken.

    What one tenant's namespace refuses is said of that command alone, so that nobody waits behind it: for want of room, of a right, or of
    a webhook's answer it is tried again later, by the control plane, which has the table of error classes; else that is its end. Who may
    write to the namespace could take such a right away, so a right that is missing stops no other tenant.
    """
    words = str(refusal)
    if isinstance(refusal, Conflict):
        return BackendBusy(f"others change the quota of namespace {namespace!r} at the same time: {words}")
    if isinstance(refusal, NotFound) or _ENDING.search(words):
        return CommandUnfit("NO_NAMESPACE", f"the tenant's namespace {namespace!r} is not there: {words}")
    if refusal.status == 403 and _NO_RIGHT.search(words):
        unfit = f"the launcher lacks a right in namespace {namespace!r}; grant what `contracts/access.py` lists: {words}"
        return CommandUnfit("NAMESPACE_UNAVAILABLE", unfit)
    if isinstance(refusal, WebhookFailed):
        return CommandUnfit("NAMESPACE_UNAVAILABLE", f"an admission webhook of namespace {namespace!r} fails: {words}")
    if _FULL.search(words):
        return CommandUnfit("QUOTA_EXCEEDED", f"the quota of the tenant's namespace takes no more Jobs: {words}")
    return CommandUnfit("JOB_REFUSED", f"the cluster refuses the run's Job: {words}")
