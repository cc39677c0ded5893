"""What can go wrong on one machine. Every error says what happened and what to do about it."""


class LocalError(Exception):
    """The local platform cannot do what was asked.

    Attributes:
        message: what happened, one sentence.
        remedy: what the person should do, one sentence.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.message = message
        self.remedy = remedy


class JavaMissing(LocalError):
    """No Java that Spark and Kafka run on was found, and none could be installed."""


class JarsUnavailable(LocalError):
    """A set of jars could not be fetched, or is not what the lock file names."""


class PackageMissing(LocalError):
    """A Python package of the `local` extra is not installed."""


class PortsExhausted(LocalError):
    """No free port was found."""


class RootUnsupported(LocalError):
    """PostgreSQL refuses to run as root, and no other user could be used."""


class HomeUnusable(LocalError):
    """The home folder cannot be made or written."""


class DiskFull(LocalError):
    """There is too little room for the data."""


class SettingInvalid(LocalError):
    """An environment variable holds what cannot be used."""


class StateUnreadable(LocalError):
    """The home folder holds state this version cannot use."""


class ServiceFailed(LocalError):
    """A part did not start, or did not answer; the message ends with the tail of its log."""


class SupervisorFailed(LocalError):
    """The process supervisor did not start, or refused a command."""


class NotUp(LocalError):
    """The platform does not run, or was never made."""
