"""Commands become jobs: verify, size, submit, tell."""

from collections.abc import Sequence

import structlog

from contracts.command import Command
from contracts.event import CommandRefused, JobSubmitted, LauncherEvent
from contracts.live_catalog import LiveCatalog
from launcher import metrics
from launcher.backend import Backend
from launcher.errors import CommandUnfit, JobConflict, MessageRejected
from launcher.job import JobSpec
from launcher.keys import JwksKeys, require_genuine
from launcher.messages import attempt_stamp, read
from launcher.sizing import Resources, size

log = structlog.get_logger()


class SubmitHandler:
    """Handles messages of the command topic (see `consuming.Handler`)."""

    def __init__(self, backend: Backend, keys: JwksKeys, catalog: LiveCatalog, cluster: str) -> None:
        self._backend = backend
        self._keys = keys
        self._catalog = catalog
        self._cluster = cluster

    def __call__(self, value: bytes) -> Sequence[LauncherEvent]:
        """Submit the command's job. A genuine command that cannot be run is refused; whatever else is wrong is rejected."""
        command = read(Command, value)
        require_genuine(command, self._keys, "stratum:start")
        try:
            return [self._submit(JobSpec.of(command, self._resources(command)))]
        except CommandUnfit as unfit:
            log.warning("command refused", process_id=str(command.process_id), error_class=unfit.error_class, reason=str(unfit))
            stamp = attempt_stamp(self._cluster, command)
            return [CommandRefused(**stamp, error_class=unfit.error_class, message=str(unfit))]

    def _resources(self, command: Command) -> Resources:
        """Image and entry point were pinned when the work was accepted; the catalog of today only gives sizes."""
        catalog = self._catalog.current
        action = catalog.actions.get(command.action)
        if action is None:
            raise CommandUnfit("UNKNOWN_ACTION", f"the action {command.action!r} is in the launcher's catalog no more")
        return size(command, action, catalog.profiles[action.profile])

    def _submit(self, spec: JobSpec) -> JobSubmitted:
        try:
            submitted = self._backend.submit(spec)
        except JobConflict as conflict:
            metrics.CONFLICTS.inc()
            raise MessageRejected(f"conflict: {conflict}") from conflict
        log.info("job submitted", adopted=submitted.adopted, **spec.log_fields)
        return JobSubmitted(
            **attempt_stamp(self._cluster, spec.attempt),
            job_name=spec.name,
            resource_profile=spec.resources.as_profile(),
            adopted=submitted.adopted,
        )
