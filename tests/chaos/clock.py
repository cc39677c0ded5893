"""A process whose clock is wrong, as every module of it sees the time."""

import datetime as datetimes
import sys
import time


def shift(seconds: float) -> None:
    """Let `time.time` and `datetime.now` of this process be wrong from now on, in modules that are loaded already too."""
    true_time, true_datetime = time.time, datetimes.datetime
    by = datetimes.timedelta(seconds=seconds)

    class Wrong(true_datetime):
        @classmethod
        def now(cls, tz: datetimes.tzinfo | None = None) -> "Wrong":
            moved = true_datetime.now(tz) + by
            return cls.combine(moved.date(), moved.timetz())

        @classmethod
        def utcnow(cls) -> "Wrong":
            return cls.now(datetimes.UTC).replace(tzinfo=None)

    time.time = lambda: true_time() + seconds
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("control_plane", "contracts", "jwt", "botocore") and getattr(module, "datetime", None) is true_datetime:
            module.datetime = Wrong  # type: ignore[attr-defined]
