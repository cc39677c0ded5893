"""Commands become jobs: verify, size, submit, tell."""

import time
from collections.abc import Sequence

import structlog

from contracts.catalog import Catalog
from contracts.command import Command, covered_digest
from contracts.errors import ImageRefused
from contracts.event import CommandRefused, JobSubmitted, LauncherEvent
from contracts.images import ImageSettings
from contracts.live_catalog import LiveCatalog
from contracts.sizing import Resources
from launcher import metrics
from launcher.backend import Backend
from launcher.errors import CatalogBehind, CommandUnfit, JobConflict, LauncherError, MessageRejected
from launcher.job import JobSpec
from launcher.keys import JwksKeys, require_genuine
from launcher.messages import attempt_stamp, read
from launcher.sizing import size

log = structlog.get_logger()

CATALOG_PATIENCE_SECONDS = 180.0
"""How long a catalog may be behind that of the API, since a command was read: a kubelet brings a ConfigMap up to date in two minutes."""


class SubmitHandler:
    """Handles messages of the command topic (see `consuming.Handler`)."""

    def __init__(
        self,
        backend: Backend,
        keys: JwksKeys,
        catalog: LiveCatalog,
        cluster: str,
        catalog_patience: float = CATALOG_PATIENCE_SECONDS,
        *,
        images: ImageSettings,
    ) -> None:
        self._backend = backend
        self._keys = keys
        self._catalog = catalog
        self._cluster = cluster
        self._catalog_patience = catalog_patience
        self._images = images
        self._unknown_to: Catalog | None = None
        self._unknown_since: dict[str, float] = {}

    def __call__(self, value: bytes, read_at: float) -> Sequence[LauncherEvent]:
        """Submit the command's job. A genuine command that cannot be run is refused; whatever else is wrong is rejected."""
        command = read(Command, value)
        require_genuine(command, self._keys, "stratum:start", read_at, covered_digest(value))
        try:
            self._check_image(command)
            return [self._submit(JobSpec.of(command, self._resources(command, read_at)))]
        except CommandUnfit as unfit:
            log.warning("command refused", process_id=str(command.process_id), error_class=unfit.error_class, reason=str(unfit))
            stamp = attempt_stamp(self._cluster, command)
            return [CommandRefused(**stamp, error_class=unfit.error_class, message=str(unfit))]

    def _check_image(self, command: Command) -> None:
        """The API asked its own settings before; these are the launcher's, which nobody reaches through Kafka."""
        try:
            self._images.check_image(command.tenant, command.image)
        except ImageRefused as refusal:
            raise CommandUnfit("IMAGE_NOT_ALLOWED", str(refusal)) from refusal

    def _resources(self, command: Command, read_at: float) -> Resources:
        """Image and entry point were pinned when the work was accepted; the catalog of today only gives sizes."""
        catalog = self._catalog.current
        action = catalog.actions.get(command.action)
        if action is None:
            raise self._unknown(catalog, command.action, read_at)
        return size(command, action, catalog.profiles[action.profile])

    def _unknown(self, catalog: Catalog, action: str, read_at: float) -> LauncherError:
        """The API knew the action: its catalog is newer than ours, or the action was taken out since.

        Each state of our catalog is waited for once for each action, or every command of one that was taken out would hold up all that
        are behind it. One that comes back is refused until our catalog has it.
        """
        if catalog is not self._unknown_to:
            self._unknown_to, self._unknown_since = catalog, {}
        since = self._unknown_since.setdefault(action, read_at)
        if time.monotonic() - since < self._catalog_patience:
            return CatalogBehind(f"the launcher's catalog does not have the action {action!r} yet")
        return CommandUnfit("UNKNOWN_ACTION", f"the action {action!r} is in the launcher's catalog no more")

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
