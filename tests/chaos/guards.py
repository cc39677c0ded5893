"""Guards that can be taken out, to see the oracle find what they keep away: a judge that never condemns proves nothing.

A guard is a piece of the real source, replaced by another inside the running test. If the source no longer has that piece, the control
run fails and must be thought of anew.
"""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import aiosql

import control_plane
from contracts.tokens import PublicKeys
from control_plane import database, observations, relay
from control_plane.api import callbacks
from control_plane.storage import Storage
from control_plane.sweeper import removal
from launcher.consuming import MessageLoop
from launcher.kubernetes.backend import KubernetesBackend
from launcher.kubernetes.lease import Lease


@dataclass(frozen=True)
class CodeGuard:
    """A piece of a Python function."""

    function: Callable[..., Any]
    old: str
    new: str

    @contextmanager
    def out(self) -> Iterator[None]:
        """Without the guard inside the block, for everybody who has the function already."""
        function = inspect.unwrap(self.function)
        assert isinstance(function, FunctionType)
        kept: CodeType = function.__code__
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.old) == 1, f"{function.__qualname__} has the guard {self.old!r} no more"
        scope: dict[str, Any] = {}
        exec(compile(source.replace(self.old, self.new), kept.co_filename, "exec"), function.__globals__, scope)
        function.__code__ = scope[function.__name__].__code__
        try:
            yield
        finally:
            function.__code__ = kept


@dataclass(frozen=True)
class SqlGuard:
    """A piece of a named statement."""

    statement: str
    old: str
    new: str

    @contextmanager
    def out(self) -> Iterator[None]:
        """Without the guard inside the block."""
        folder = Path(control_plane.__file__).parent / "sql"
        text = next(t for t in (file.read_text() for file in folder.glob("*.sql")) if re.search(rf"-- name: {self.statement}\W", t))
        begin = re.search(rf"-- name: {self.statement}\W", text)
        assert begin is not None
        body = text[begin.start() :].split("\n-- name:", 1)[0]
        assert body.count(self.old) == 1, f"{self.statement} has the guard {self.old!r} no more"
        without = aiosql.from_str(body.replace(self.old, self.new), "asyncpg", mandatory_parameters=False)
        kept = getattr(database.queries, self.statement)
        setattr(database.queries, self.statement, getattr(without, self.statement))
        try:
            yield
        finally:
            setattr(database.queries, self.statement, kept)


GUARDS: dict[str, CodeGuard | SqlGuard] = {
    "a run is granted what no other run has": CodeGuard(callbacks._check_bound, "current.run_id not in (None, body.run_id)", "False"),
    "a signature must fit": CodeGuard(PublicKeys.verify, '"verify_exp": False', '"verify_signature": False, "verify_exp": False'),
    "a message is marked when it was delivered": CodeGuard(
        relay._publish, "delivered = await publisher.publish(batch) if batch else []",
        "await publisher.publish(batch); delivered = [message.tag for message in batch]",
    ),
    "one relay leads": CodeGuard(relay._lead, 'SELECT pg_try_advisory_lock($1)"', 'SELECT $1::bigint IS NOT NULL"'),
    "a manifest is put create-only": CodeGuard(Storage.put_new, 'IfNoneMatch="*", ', ""),
    "an attempt only moves forward": SqlGuard("end_attempt", "AND rank < 60\n", "\n"),
    "a list is asked for what ended before it": SqlGuard("attempts_of_cluster", "AND a.lease_until < :began_at)", ")"),
    "a list speaks only of what ended before it": CodeGuard(
        observations._still_concerns, "current.lease_until < relist.began_at", "True"
    ),
    "an offset is stored after the effect": CodeGuard(
        MessageLoop._take, "self._held.append(message)", "self._held.append(message); self._store(consumer, message); consumer.commit()"
    ),
    "a folder that is being removed is not sealed": SqlGuard(
        "begin_manifest", "AND NOT EXISTS (SELECT FROM swept_folders f WHERE f.tenant = a.tenant AND f.run_id = a.run_id) RETURNING",
        "RETURNING",
    ),
    "what a manifest names is not removed": CodeGuard(
        removal.named,
        "manifest.run_id == run_id or manifest.location == path.uri(prefix) or any(f.key.startswith(prefix) for f in manifest.files)",
        "False",
    ),
    "one observer leads": CodeGuard(Lease._is_free, 'spec.get("holderIdentity") in (None, "", self.holder)', "True"),
    "a Job is adopted if it was made from the same command": CodeGuard(KubernetesBackend._adopt, "digest != spec.digest", "False"),
}  # fmt: skip
