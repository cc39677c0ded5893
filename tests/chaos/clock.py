"""A process whose clock is wrong, as every module of it sees the time."""

import datetime as datetimes
import sys
import time
from collections.abc import Mapping
from typing import Any

_TRUE = datetimes.datetime


def shift(seconds: float) -> None:
    """Let `time.time` and `datetime.now` of this process be wrong from now on, in modules that are loaded already too."""
    wrong = _wrong(seconds)
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("control_plane", "contracts", "jwt", "botocore") and getattr(module, "datetime", None) is _TRUE:
            module.datetime = wrong  # type: ignore[attr-defined]


def shift_part(seconds: Mapping[str, float]) -> None:
    """The same for one of the parts that `stratum up` starts, as the first thing that it does; `seconds` by the part's name.

    To be called by a `sitecustomize`: whatever is loaded after that knows no other time.
    """
    match sys.orig_argv[1:]:
        case ["-m", "control_plane", part] | ["-m", "launcher" as part, "local"] if part in seconds:
            datetimes.datetime = _wrong(seconds[part])  # type: ignore[misc]


def _wrong(seconds: float) -> Any:
    """Shift `time`, and return what tells the time in the place of `datetime`: what it makes are true ones, and all true ones are its."""
    by, true_time, true_time_ns = datetimes.timedelta(seconds=seconds), time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + int(seconds * 1e9)

    class Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, _TRUE)

        def __subclasscheck__(cls, kind: type) -> bool:
            return issubclass(kind, _TRUE)

    class Wrong(_TRUE, metaclass=Kind):
        __slots__ = ()  # as large as the true one: extension modules look

        def __new__(cls, *arguments: Any, **named: Any) -> Any:
            return _TRUE.__new__(_TRUE if cls is Wrong else cls, *arguments, **named)

        @classmethod
        def now(cls, tz: datetimes.tzinfo | None = None) -> Any:
            return _TRUE.now(tz) + by

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(datetimes.UTC).replace(tzinfo=None)

    return Wrong
