"""Why a job ends without a result: one small tree under `JobError`."""

from contracts.error_classes import may_pass


class JobError(Exception):
    """A run failed. `error_class` is what machines read, the message what people read."""

    error_class: str = "JOB_FAILED"

    @property
    def retryable(self) -> bool:
        """Whether another try may succeed: what the table of error classes says. An action's own class may say it itself."""
        return may_pass(self.error_class)


class InvalidCommand(JobError):
    """The command, its environment or its parameters cannot be used."""

    error_class = "INVALID_COMMAND"


class InvalidParameter(JobError):
    """A parameter does not fit the action or the data."""

    error_class = "INVALID_PARAMETER"


class UnknownColumn(JobError):
    """A parameter names a column that is not there. Classed as Spark classes it."""

    error_class = "UNRESOLVED_COLUMN.WITH_SUGGESTION"


class WrongType(JobError):
    """A column has a type that the action cannot use."""

    error_class = "DATATYPE_MISMATCH"


class EmptyInput(JobError):
    """An input has no rows, and the action makes no sense of that."""

    error_class = "EMPTY_INPUT"


class InvalidValues(JobError):
    """Values do not parse, or are outside of what the action accepts."""

    error_class = "INVALID_VALUES"


class QueryRefused(JobError):
    """A query or condition lies outside what is allowed."""

    error_class = "QUERY_REFUSED"


class InputChanged(JobError):
    """An input is not what the command was accepted for: its manifest or its files differ."""

    error_class = "INPUT_CHANGED"


class OutputMismatch(JobError):
    """What lies in the run's folder is not what the run wrote."""

    error_class = "OUTPUT_MISMATCH"


class StorageUnavailable(JobError):
    """The object store cannot be reached, or keeps failing."""

    error_class = "STORAGE_UNAVAILABLE"


class StorageRefused(JobError):
    """The object store denies access, or the bucket is not there."""

    error_class = "STORAGE_REFUSED"


class StorageUntrusted(JobError):
    """The object store shows a certificate that the run does not trust."""

    error_class = "STORAGE_UNTRUSTED"

    def __init__(self, detail: str) -> None:
        remedy = "if a private authority issued it, an operator names that in `STRATUM_CA_BUNDLE`, on Kubernetes by the chart's `privateCA`"
        super().__init__(f"the object store shows a certificate that the run does not trust; {remedy} ({detail})")


class ExecutorsUnavailable(JobError):
    """The cluster gave the run no executor for too long."""

    error_class = "EXECUTORS_UNAVAILABLE"


class SparkFailed(JobError):
    """Spark failed; carries Spark's own error class. `hopeless`: not to be tried again, though its class may pass."""

    def __init__(self, error_class: str, message: str, *, hopeless: bool = False) -> None:
        super().__init__(message)
        self.error_class = error_class
        self._hopeless = hopeless

    @property
    def retryable(self) -> bool:
        """See `JobError.retryable`."""
        return not self._hopeless and super().retryable


class Terminated(BaseException):
    """Somebody asked the run to stop. Like `KeyboardInterrupt` no `Exception`, lest a library take it for a failure of its own."""


class GrantLost(Exception):
    """The control plane does not want this run, or no longer: it must stop and write nothing more."""


class ClusterUnreachable(Exception):
    """The Kubernetes API gave no usable answer."""


class ControlPlaneUnreachable(Exception):
    """The control plane gave no usable answer for as long as the run may wait."""
