"""How `pytest -n` gives tests to its workers: a file as a whole, and all tests of one platform to one of them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

import pytest
from xdist import is_xdist_worker
from xdist.scheduler import LoadScopeScheduling

_SHARE_A_PLATFORM = ("tests/e2e/", "tests/tpch/", "tests/preflight/test_preflight.py")
_BREAK_A_PLATFORM = ("tests/e2e/test_kills.py", "tests/e2e/test_restart.py")
_BEGUN_FIRST = ("release", "platform", "spark", "tests/local/test_platform.py", "doomed")
"""What takes longest. The first platform of a checkout makes the archive of classes for a minute, and the second would wait for it."""
_SHARE_A_SPARK = "tests/spark_jobs/"
_OWN_SPARKS = ("tests/spark_jobs/test_driver.py", "tests/spark_jobs/test_private_authority.py")
_SHARE_A_RELEASE = "tests/cluster/"
T = TypeVar("T")

_OPEN = pytest.StashKey[ExitStack]()


def scope_of(nodeid: str) -> str:
    """What is given to a worker as a whole: a file, but for the users of a release, a platform, one to be broken, a Spark session."""
    file = nodeid.partition("::")[0]
    if file in _BREAK_A_PLATFORM:
        return "doomed"
    if file.startswith(_SHARE_A_SPARK) and file not in _OWN_SPARKS:
        return "spark"
    if file.startswith(_SHARE_A_RELEASE):
        return "release"
    return "platform" if file.startswith(_SHARE_A_PLATFORM) else file


def place_of(nodeid: str) -> int:
    """When it is begun: what takes long first, so that no worker is left alone with it at the end."""
    scope = scope_of(nodeid)
    return _BEGUN_FIRST.index(scope) if scope in _BEGUN_FIRST else len(_BEGUN_FIRST)


class ByScope(LoadScopeScheduling):
    """`--dist loadscope` with scopes of ours."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def shared(session: pytest.Session, resource: AbstractContextManager[T]) -> Iterator[T]:
    """What a session fixture yields; it ends with its scope, where a worker has one scope after the other."""
    with session.stash.setdefault(_OPEN, ExitStack()) as opened:
        yield opened.enter_context(resource)


def scope_ended(item: pytest.Item, following: pytest.Item | None) -> None:
    """End what the scope of `item` shared, if it is over: a platform costs a tenth of a core also while nobody uses it."""
    if is_xdist_worker(item.session) and following is not None and scope_of(following.nodeid) != scope_of(item.nodeid):
        item.session.stash.setdefault(_OPEN, ExitStack()).close()
