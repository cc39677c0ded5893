"""Workers of `pytest -n` that share one cluster: most tests go side by side, one that stops the cluster's API server is alone."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DOOR = Path(__file__)
ROOM = Path(__file__).parent / "cluster" / "conftest.py"
"""Files that are there anyway; what is locked is not what they hold."""


@contextmanager
def turn_of(item: pytest.Item) -> Iterator[None]:
    """Wait until the test may begin, fixtures included; no one that has to be alone begins before it has ended."""
    if item.get_closest_marker("cluster") is None:
        yield
        return
    is_alone = item.get_closest_marker("alone") is not None
    # who waits to be alone stands in the door, so that no stream of others goes on before it
    with DOOR.open("rb") as door, ROOM.open("rb") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield
