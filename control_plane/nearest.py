"""Suggestions for a name that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """At most three existing names, the nearest first; the first ones by name when none is near."""
    names = sorted(known)
    return get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]


def did_you_mean(suggestions: list[str]) -> str:
    """A sentence that names the suggestions."""
    return f" Did you mean {' or '.join(repr(name) for name in suggestions)}?" if suggestions else ""
