"""Driver output, as it was shipped to the object store in chunks: `<log prefix>/NNNNNN.log`."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from contracts.http import LogChunk
from contracts.layout import LOG_END_NAME
from control_plane.errors import ObjectMissing
from control_plane.storage import Storage

MOST_BYTES = 1 << 20
MOST_OBJECTS = 200_000
"""Of one attempt. A run may put objects there too; what lies behind so many is no log of ours."""
PATIENCE_SECONDS = 60.0
"""How long after its end an attempt's log is waited for. A pod that is lost with its node never finishes it."""


@dataclass(frozen=True, slots=True)
class LogSource:
    """Where one attempt's log lies. `given_up`: nothing more is waited for, whether its end was marked or not."""

    bucket: str
    prefix: str
    given_up: bool


def read(storage: Storage, sources: Sequence[LogSource], offset: int, *, ended: bool) -> LogChunk:
    """At most `MOST_BYTES` from `offset` on, counted over the chunks of all `sources` in order. `ended`: there will be no more sources.

    A source is read when those before it grow no more: else what was counted once would count differently later.
    """
    position = 0
    taken: list[bytes] = []
    for source in sources:
        is_whole = source.given_up
        for item in islice(storage.walk(source.bucket, source.prefix), MOST_OBJECTS):
            is_whole = is_whole or item.key == source.prefix + LOG_END_NAME
            if not item.key.endswith(".log"):
                continue
            begin, position = position, position + item.size
            if position <= max(offset, begin):  # read already, or empty
                continue
            room = MOST_BYTES - sum(map(len, taken))
            if room <= 0:
                return _chunk(taken, offset, complete=False)
            skipped = max(offset - begin, 0)
            try:
                taken.append(storage.part(source.bucket, item.key, skipped, room))
            except ObjectMissing:  # logs are being swept: what is behind it goes too
                return _chunk(taken, offset, complete=ended)
            if item.size - skipped > room:  # whoever wrote it made it larger than our own shippers do
                return _chunk(taken, offset, complete=False)
        if not is_whole:
            return _chunk(taken, offset, complete=False)
    return _chunk(taken, offset, complete=ended)


def _chunk(taken: Sequence[bytes], offset: int, *, complete: bool) -> LogChunk:
    data = b"".join(taken)
    return LogChunk(text=data.decode(errors="replace"), next_offset=offset + len(data), complete=complete)
