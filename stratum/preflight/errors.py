"""What a check cannot go on after. Each group turns it into a finding with a remedy."""


class PreflightError(Exception):
    """A part of the target does not answer as it must."""


class Unreachable(PreflightError):
    """It cannot be asked; the message says why, without secrets."""
