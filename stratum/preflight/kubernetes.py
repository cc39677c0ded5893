"""Placeholder."""

from stratum.preflight.runner import Check
from stratum.preflight.target import Target


def checks(target: Target) -> list[Check]:
    """."""
    return []
