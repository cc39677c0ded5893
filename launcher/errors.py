"""Errors of the launcher: one small tree under `LauncherError`."""


class LauncherError(Exception):
    """The launcher cannot do what it was asked."""


class NotNow(LauncherError):
    """Something it depends on is away or full; the same message is tried again later, nothing is given up.

    `retry_after_seconds`: how long it asked to be left alone, if it did.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class KeysUnavailable(NotNow):
    """The public keys cannot be fetched, so no token can be judged."""


class ClockUnavailable(NotNow):
    """The control plane does not tell the time, so no relist can be dated."""


class CatalogBehind(NotNow):
    """The catalog here does not have an action that was accepted; catalogs reach the parts of a cluster one after another."""


class PublishFailed(NotNow):
    """Kafka did not acknowledge an event."""


class StorageUnavailable(NotNow):
    """The object store does not answer."""


class ChunkRefused(NotNow):
    """The object store refuses a chunk of a log: its bucket is missing, a key is wrong, or another shipper has put it."""


class NotLeading(NotNow):
    """Another may do this now, or soon: only the holder of the Lease does it."""


class MessageRejected(LauncherError):
    """A message that nobody can act on: unreadable, oversized, forged, in conflict. It goes to the dead-letter queue."""


class CommandUnfit(LauncherError):
    """A genuine command that cannot be run here; its sender is told.

    `error_class` is written as Spark writes its own: capitals and underscores.
    """

    def __init__(self, error_class: str, message: str) -> None:
        self.error_class = error_class
        super().__init__(message)


class BackendError(LauncherError):
    """The backend refuses."""


class BackendBusy(BackendError, NotNow):
    """The backend pushes back: too much is waiting already."""


class BackendUnavailable(BackendError, NotNow):
    """The backend cannot be reached, or cannot give a complete answer."""


class BackendRefused(BackendError):
    """The backend does not do this where the job lives. That is somebody's to mend; jobs of other tenants do not wait for it."""


class JobConflict(BackendError):
    """A job of this name exists and was made from another command. It is never adopted."""


class JobAbsent(BackendError):
    """There is no job of this name."""
